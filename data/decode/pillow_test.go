package decode

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/dino-mx/dmx/data"
)

var tableFile = flag.String("table", "", "write the table of pictures beside Pillow to this file")

// oracle is what Pillow reads in one picture.
type oracle struct {
	Mode          string
	Width, Height int
	RGB           string // base64 of interleaved pixels, Pillow's or, of files that it refuses, those that were written
	Grey8, Grey16 string // base64 of the samples of a grey picture, those of 16 bits little-endian
	Refused       string
}

func readOracle(t testing.TB) (versions map[string]string, pictures map[string]oracle) {
	b, err := os.ReadFile("testdata/pixels.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Versions map[string]string
		Pictures map[string]oracle
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	return file.Versions, file.Pictures
}

// level is a sample on the scale of 8 bits, rounded down to the precision of the file's high byte.
func level(m *data.Image, c, i int) float64 {
	v := m.At(c, i/m.Width, i%m.Width)
	return float64(v) * 255 / map[data.Type]float64{data.U8: 255, data.U16: 65535}[m.Type]
}

// furthest is the largest difference in levels between the first n channels of m and interleaved pixels.
func furthest(m *data.Image, pixels []byte, n, step int) float64 {
	worst := 0.0
	for i := range m.Width * m.Height {
		for c := range n {
			d := level(m, c, i) - float64(pixels[i*step+c])
			worst = max(worst, d, -d)
		}
	}
	return worst
}

// asRGB reads a picture with three channels and says how it compares; ok is false if it must not.
func asRGB(b []byte, want oracle) (cell string, ok bool) {
	var m data.Image
	err := Image(b, 3, &m)
	switch {
	case err != nil && strings.HasPrefix(err.Error(), "not supported: "):
		return strings.TrimSuffix(err.Error(), "; convert it to an 8-bit PNG"), true
	case err != nil:
		return err.Error(), want.Refused != "" && want.RGB == ""
	case want.RGB == "":
		return "read without an oracle", false
	case m.Width != want.Width || m.Height != want.Height || m.Channels != 3:
		return fmt.Sprintf("%d channels, %d x %d, expected 3, %d x %d",
			m.Channels, m.Width, m.Height, want.Width, want.Height), false
	}
	pixels, err := base64.StdEncoding.DecodeString(want.RGB)
	if err != nil {
		return err.Error(), false
	}
	worst := furthest(&m, pixels, 3, 3)
	if worst == 0 {
		return "equal", true
	}
	return fmt.Sprintf("within %.3g", worst), worst <= 1
}

// asStored reads a picture with as many channels as its header announces; ok is false if they differ from the oracle.
func asStored(b []byte, want oracle) (cell string, ok bool) {
	n, err := Channels(b)
	if err != nil {
		return "", true // told by asRGB, which reads the header too
	}
	var m data.Image
	if n == 3 {
		err := Image(b, 1, &m)
		if err == nil {
			return "the header says 3 channels, and 1 is read", false
		}
		grey := want.Grey8 != "" || want.Grey16 != ""
		return "3", !grey
	}
	if err := Image(b, n, &m); err != nil {
		return "1", true // as above
	}
	if want.RGB == "" {
		return "1", true
	}
	cell = fmt.Sprintf("1 of %d bits", map[data.Type]int{data.U8: 8, data.U16: 16}[m.Type])
	switch {
	case want.Grey16 != "":
		pixels, _ := base64.StdEncoding.DecodeString(want.Grey16)
		if m.Type != data.U16 {
			return cell, false
		}
		for i, v := range m.U16 {
			if v != binary.LittleEndian.Uint16(pixels[2*i:]) {
				return fmt.Sprintf("%s, differing at pixel %d", cell, i), false
			}
		}
		return cell, true
	case want.Grey8 != "":
		pixels, _ := base64.StdEncoding.DecodeString(want.Grey8)
		worst := furthest(&m, pixels, 1, 1)
		return cell, m.Type == data.U8 && worst <= 1
	}
	// A palette of greys, or grey with alpha of 16 bits: one channel of the RGB that Pillow makes.
	pixels, _ := base64.StdEncoding.DecodeString(want.RGB)
	return cell, furthest(&m, pixels, 1, 3) <= 1
}

// Every picture is read as Pillow reads it, within one level, or refused for a property that the message names. No
// file that Pillow reads is called damaged.
func TestPillow(t *testing.T) {
	versions, pictures := readOracle(t)
	var names []string
	for name := range pictures {
		names = append(names, name)
	}
	sort.Strings(names)
	files, err := os.ReadDir("testdata/pictures")
	if err != nil || len(files) != len(names) {
		t.Fatalf("%d pictures, %d in pixels.json, %v", len(files), len(names), err)
	}
	var table strings.Builder
	counts := map[string]int{}
	for _, name := range names {
		want := pictures[name]
		b, err := os.ReadFile(filepath.Join("testdata/pictures", name))
		if err != nil {
			t.Fatal(err)
		}
		rgb, ok := asRGB(b, want)
		if !ok {
			t.Errorf("%s: %s; Pillow: %s", name, rgb, want.Mode)
		}
		stored, ok := asStored(b, want)
		if !ok {
			t.Errorf("%s: channels: %s; Pillow: %s", name, stored, want.Mode)
		}
		pillow := want.Mode
		if want.Refused != "" {
			pillow = "refuses: " + want.Refused
		}
		kind, _, _ := strings.Cut(rgb, " ")
		counts[kind]++
		fmt.Fprintf(&table, "| %s | %s | %s | %s |\n", name, pillow, rgb, stored)
	}
	t.Logf("%d pictures: %v", len(names), counts)
	if *tableFile == "" {
		return
	}
	text := fmt.Sprintf(`# Pictures beside Pillow

What `+"`data/decode`"+` reads in one small picture for each format, mode and option, beside Pillow %s
(libjpeg-turbo %s, libtiff %s, libwebp %s). `+"`data/decode/testdata/make.py`"+` made the pictures and Pillow's pixels.

    go test ./data/decode -tags cpu -run Pillow -count=1 -table "$PWD/bench/decode.md"

As RGB: three channels against Image.open(f).convert("RGB"), the largest difference in levels of 255. "not supported"
is the error that dmx gives. Where Pillow refuses what dmx reads, the pixels that were written stand in. Channels: what
the header announces, and the bits that a grey picture keeps when it is read as one channel; those are compared too. A
grey picture of 16 bits read as RGB is clipped to 0…255, as Pillow does; read as one channel it keeps its 16 bits.

%d pictures: %d equal, %d within one level, %d not supported, %d damaged or cut short for both.

| picture | Pillow's mode | as RGB | channels |
|---|---|---|---|
%s`, versions["pillow"], versions["libjpeg-turbo"], versions["libtiff"], versions["libwebp"], len(names),
		counts["equal"], counts["within"], counts["not"], counts["damaged"], table.String())
	if err := os.WriteFile(*tableFile, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
