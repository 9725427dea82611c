package main

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/dino-mx/dmx/ssl/embed"
	"github.com/dino-mx/dmx/tensor"
)

// pictures writes n colour pictures of two classes and several sizes.
func pictures(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	r := tensor.NewRand(1, 0, 0, 0)
	for i := range n {
		class := filepath.Join(dir, []string{"cat", "dog"}[i%2])
		if err := os.MkdirAll(class, 0o755); err != nil {
			t.Fatal(err)
		}
		m := image.NewRGBA(image.Rect(0, 0, 40+5*i, 50))
		for y := range 50 {
			for x := range 40 + 5*i {
				m.Set(x, y, color.RGBA{uint8(r.Intn(256)), uint8(x * 3), uint8(y * 4), 255})
			}
		}
		f, err := os.Create(filepath.Join(class, fmt.Sprintf("%02d.png", i)))
		if err != nil {
			t.Fatal(err)
		}
		if err := png.Encode(f, m); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	return dir
}

// readNPY reads a float32 array of format version 1.
func readNPY(t *testing.T, path string) (header string, values []float32) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := int(binary.LittleEndian.Uint16(b[8:]))
	if string(b[:8]) != "\x93NUMPY\x01\x00" || (10+n)%64 != 0 {
		t.Fatalf("%s: not aligned, or not an npy file", path)
	}
	for i := 10 + n; i < len(b); i += 4 {
		values = append(values, math.Float32frombits(binary.LittleEndian.Uint32(b[i:])))
	}
	return strings.TrimSpace(string(b[10 : 10+n])), values
}

func TestEmbedFormatsAgree(t *testing.T) {
	dir, out := pictures(t, 7), t.TempDir()
	npy, csvFile, pq := filepath.Join(out, "f.npy"), filepath.Join(out, "f.csv"), filepath.Join(out, "f.parquet")
	for i, file := range []string{npy, csvFile, pq} {
		args := []string{"embed", "--model", modelDir + "dinov2", "--data", dir, "--out", file, "--features", "cls+mean", "--size", "56", "--batch-size", fmt.Sprint(2 + i)}
		if code, _, errOut := dmx(t, args...); code != 0 {
			t.Fatal(errOut)
		}
	}
	header, values := readNPY(t, npy)
	if header != "{'descr': '<f4', 'fortran_order': False, 'shape': (7, 48), }" {
		t.Errorf("header %s", header)
	}
	f, err := os.Open(csvFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	rows, err := parquet.ReadFile[embed.Row](pq)
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != 8 || len(rows) != 7 || len(values) != 7*48 {
		t.Fatalf("%d csv records, %d parquet rows, %d npy values", len(records), len(rows), len(values))
	}
	for i, r := range rows {
		rec := records[i+1]
		if r.ID != rec[0] || *r.Class != rec[2] || fmt.Sprint(*r.Label) != rec[1] {
			t.Errorf("row %d: %s %d %s against %v", i, r.ID, *r.Label, *r.Class, rec[:3])
		}
		for k, v := range r.Embedding {
			var c float32
			fmt.Sscan(rec[3+k], &c)
			if v != values[i*48+k] || c != v {
				t.Fatalf("row %d feature %d: parquet %g, csv %g, npy %g", i, k, v, c, values[i*48+k])
			}
		}
	}
	samples, err := os.ReadFile(npy + ".samples.csv")
	if err != nil || strings.Count(string(samples), "\n") != 8 || !strings.Contains(string(samples), "dog") {
		t.Errorf("samples: %v\n%s", err, samples)
	}
	left, _ := filepath.Glob(filepath.Join(out, "*.part*"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestEmbedFeatures(t *testing.T) {
	dir, out := pictures(t, 3), t.TempDir()
	get := func(args ...string) (string, []float32) {
		file := filepath.Join(out, "f.npy")
		code, _, errOut := dmx(t, append([]string{"embed", "--model", modelDir + "dinov2-registers", "--data", dir, "--out", file, "--size", "64"}, args...)...)
		if code != 0 {
			t.Fatal(errOut)
		}
		return readNPY(t, file)
	}
	_, cls := get()
	_, mean := get("--features", "mean")
	header, patches := get("--features", "patches")
	if !strings.Contains(header, "(3, 16, 24)") {
		t.Errorf("patches: %s", header)
	}
	for i := range 3 {
		for k := range 24 {
			sum := 0.0
			for p := range 16 {
				sum += float64(patches[(i*16+p)*24+k])
			}
			if math.Abs(sum/16-float64(mean[i*24+k])) > 1e-6 {
				t.Fatalf("image %d: the mean of the patches is %g, mean says %g", i, sum/16, mean[i*24+k])
			}
		}
	}
	// The last block before the norm, and both blocks joined.
	header, two := get("--layers", "1,2", "--features", "cls")
	if !strings.Contains(header, "(3, 48)") {
		t.Errorf("two layers: %s", header)
	}
	_, last := get("--layers", "2")
	for i := range 3 {
		for k := range 24 {
			if two[i*48+24+k] != last[i*24+k] {
				t.Fatal("the second of two layers differs from the layer alone")
			}
			if last[i*24+k] == cls[i*24+k] {
				t.Fatal("the hidden state equals the normed output")
			}
		}
	}
}

// Pictures that cannot be read are named, listed beside the result and left out, up to the allowed share.
func TestEmbedLeavesOutUnreadablePictures(t *testing.T) {
	dir, out := pictures(t, 6), t.TempDir()
	bad := filepath.Join(dir, "cat", "02.png")
	whole, err := os.ReadFile(bad)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bad, whole[:len(whole)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(out, "f.npy")
	args := []string{"embed", "--model", modelDir + "dinov2", "--data", dir, "--out", file, "--size", "56", "--batch-size", "4"}
	code, _, errOut := dmx(t, args...)
	if code != 1 || !strings.Contains(errOut, "--max-unreadable-share: 1 of 6 images cannot be read") || !strings.Contains(errOut, bad) {
		t.Errorf("exit code %d: %s", code, errOut)
	}
	code, stdout, errOut := dmx(t, append(args, "--max-unreadable-share", "0.5")...)
	if code != 0 || !strings.Contains(stdout, "f.npy: 5 images") || !strings.Contains(errOut, "warning: skipped "+bad+": ") ||
		!strings.Contains(errOut, "1 of 6 images cannot be read and are left out; "+file+".skipped.csv lists them") {
		t.Fatalf("exit code %d: %s%s", code, stdout, errOut)
	}
	if header, _ := readNPY(t, file); !strings.Contains(header, "(5, 24)") {
		t.Errorf("header %s", header)
	}
	samples, err := os.ReadFile(file + ".samples.csv")
	if err != nil || strings.Contains(string(samples), bad) || strings.Count(string(samples), "\n") != 6 {
		t.Errorf("samples: %v\n%s", err, samples)
	}
	list, err := os.ReadFile(file + ".skipped.csv")
	if err != nil || !strings.HasPrefix(string(list), "id,stage,reason\n"+bad+",decoding,") {
		t.Errorf("list: %v\n%s", err, list)
	}
}

// A model of three channels sees grey pictures, those with alpha and those with a palette as it sees the same pictures
// in colour, also where only one of many, which no probe finds, is of another kind.
func TestEmbedBringsPicturesToTheChannelsOfTheModel(t *testing.T) {
	kinds := map[string]func(i int, grey *image.Gray) image.Image{
		"grey":    func(_ int, grey *image.Gray) image.Image { return grey },
		"colour":  func(_ int, grey *image.Gray) image.Image { return inColour(grey, 255) },
		"alpha":   func(_ int, grey *image.Gray) image.Image { return inColour(grey, 128) },
		"palette": func(_ int, grey *image.Gray) image.Image { return paletted(grey) },
		"one of them": func(i int, grey *image.Gray) image.Image {
			if i == 33 {
				return inColour(grey, 7)
			}
			return grey
		},
	}
	want := ""
	for _, kind := range []string{"colour", "grey", "alpha", "palette", "one of them"} {
		dir, file := t.TempDir(), filepath.Join(t.TempDir(), "f.npy")
		for i := range 64 {
			grey := image.NewGray(image.Rect(0, 0, 16, 16))
			for k := range grey.Pix {
				grey.Pix[k] = uint8(k*k*(i+3) + i)
			}
			var b bytes.Buffer
			if err := png.Encode(&b, kinds[kind](i, grey)); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, fmt.Sprintf("%02d.png", i)), b.Bytes())
		}
		code, _, errOut := dmx(t, "embed", "--model", modelDir+"dinov3", "--data", dir, "--size", "16", "--out", file)
		if code != 0 || !strings.Contains(errOut, "no classes, 64 images, splits: none") {
			t.Fatalf("%s: exit code %d: %s", kind, code, errOut)
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if want == "" {
			want = string(got)
		}
		if string(got) != want {
			t.Errorf("%s: other features than those of the same pictures in colour", kind)
		}
	}
}

func inColour(grey *image.Gray, alpha uint8) image.Image {
	m := image.NewNRGBA(grey.Rect)
	for i, v := range grey.Pix {
		copy(m.Pix[4*i:], []uint8{v, v, v, alpha})
	}
	return m
}

func paletted(grey *image.Gray) image.Image {
	var palette color.Palette
	for i := range 256 {
		palette = append(palette, color.Gray{Y: uint8(255 - i)})
	}
	m := image.NewPaletted(grey.Rect, palette)
	for i, v := range grey.Pix {
		m.Pix[i] = 255 - v
	}
	return m
}

func TestEmbedMistakes(t *testing.T) {
	dir := pictures(t, 2)
	out, folder := filepath.Join(t.TempDir(), "f.npy"), filepath.Join(t.TempDir(), "folder.npy")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--out", "f.txt"}, 2, "--out: f.txt"},
		{[]string{"--out", out, "--layers", "3"}, 2, "blocks 1 to 2"},
		{[]string{"--out", out, "--batch-size", "0"}, 2, "--batch-size"},
		{[]string{"--out", out, "--features", "all"}, 2, "--features"},
		{[]string{"--out", out, "--size", "4"}, 1, "smaller than one patch"},
		{[]string{"--out", out, "--size=-4"}, 2, "--size: -4: expected a positive number"},
		{[]string{"--out", out, "--max-unreadable-share", "2"}, 2, "--max-unreadable-share: 2"},
		{[]string{"--out", folder, "--size", "56"}, 1, "is a folder"},
		{[]string{"--out", filepath.Join(folder, "none", "f.npy"), "--size", "56"}, 1, "--out: "},
	} {
		args := append([]string{"embed", "--model", modelDir + "dinov2", "--data", dir}, c.args...)
		if code, _, errOut := dmx(t, args...); code != c.code || !strings.Contains(errOut, c.want) {
			t.Errorf("%v: exit code %d: %s", c.args, code, errOut)
		}
	}
}
