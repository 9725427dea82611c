package eval

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/data/augment"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/hf"
)

var processorTable = flag.String("table", "", "write the table of image processors to this file")

// processorCase is a model folder's files and what the library makes of the picture.
type processorCase struct {
	Family, Field string
	Files         map[string]json.RawMessage
	Class         string
	Shape         []int
	Level         float64 // what one level of the picture is in the result
	Pixels        string
	Refused       string
}

// processorOf reads the image processor of a case as a model folder's would be.
func processorOf(t *testing.T, c processorCase) (*hf.Processor, error) {
	if raw := c.Files[hf.ConfigFile]; c.Family == "timm" {
		cfg, err := hf.ParseConfig(raw)
		if err != nil {
			return nil, err
		}
		return cfg.Timm.Processor()
	}
	dir := t.TempDir()
	for name, raw := range c.Files {
		if name != hf.ConfigFile {
			if err := os.WriteFile(filepath.Join(dir, name), raw, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	family := map[string]nn.Family{"ViT": nn.FamilyViT, "DINOv2": nn.FamilyDINOv2, "DINOv3": nn.FamilyDINOv3}[c.Family]
	return hf.FolderProcessor(dir, family)
}

// Every field of an image processor, set to a value that is not the default, makes the pixels of the library, or is
// refused by name, as is what the library itself refuses.
func TestProcessorFields(t *testing.T) {
	raw, err := os.ReadFile("testdata/processors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Versions      map[string]string
		Width, Height int
		Picture       []byte
		Cases         []processorCase
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	var m data.Sample
	m.Image.Reset(3, file.Height, file.Width, data.U8)
	for i, v := range file.Picture {
		m.Image.U8[i%3*file.Height*file.Width+i/3] = v
	}
	var table strings.Builder
	parity, refused, both := 0, 0, 0
	for _, c := range file.Cases {
		cell := ""
		p, err := processorOf(t, c)
		var w *augment.Whole
		if err == nil && p == nil {
			cell = "assumed, and said"
		} else if err == nil {
			w, err = NewView(p, 3, 0)
		}
		library := c.Class
		if c.Refused != "" {
			library = "refuses: " + c.Refused
		}
		switch {
		case err != nil:
			message := err.Error()
			if at := strings.Index(message, hf.ProcessorFile); at > 0 {
				message = message[at:] // without the folder
			}
			cell = "refused: " + message
			if c.Refused != "" {
				both++
			} else {
				refused++
			}
			if !named(c, err) {
				t.Errorf("%s, %s: the message names no field: %v", c.Family, c.Field, err)
			}
		case c.Refused != "":
			if cell == "" {
				t.Errorf("%s, %s: read, but the library says %s", c.Family, c.Field, c.Refused)
			}
			both++
		default:
			parity++
			worst, err := compareView(w, &m, c)
			if err != nil {
				t.Errorf("%s, %s: %v", c.Family, c.Field, err)
				continue
			}
			// The library resizes uint8 pictures with weights of 16 bits, Pillow and dmx with more; floats do not round.
			most := 1.001
			if p.RescaleFirst || c.Family == "timm" {
				most = 0.01
			}
			if worst > most {
				t.Errorf("%s, %s: %.3g levels from the library, at most %g", c.Family, c.Field, worst, most)
			}
			cell = fmt.Sprintf("within %.2g levels", worst)
		}
		fmt.Fprintf(&table, "| %s | %s | %s | %s |\n", c.Family, c.Field, strings.ReplaceAll(library, "|", "/"),
			strings.ReplaceAll(cell, "|", "/"))
	}
	t.Logf("%d cases: parity in %d, refused by name %d, refused by both %d", len(file.Cases), parity, refused, both)
	if *processorTable == "" {
		return
	}
	v := file.Versions
	text := fmt.Sprintf(`# Image processors, field by field

Each field of the image processors of four families set to a value that is not the default, on one picture of %d x %d
pixels: what dmx makes of it beside transformers %s, timm %s, torchvision %s and Pillow %s.
`+"`ssl/eval/testdata/processors.py`"+` made the pixels of the libraries.

    go test ./ssl/eval -tags cpu -run ProcessorFields -count=1 -table "$PWD/bench/hf/processors.md"

A level is 1/255 of the picture's range. torchvision resizes 8-bit pictures with coarser weights than Pillow, so that
some pixels of the families of transformers differ by one level.

%d cases: parity in %d, refused by name in %d, refused or missing for both in %d.

| family | field | library | dmx |
|---|---|---|---|
%s`, file.Width, file.Height, v["transformers"], v["timm"], v["torchvision"], v["pillow"],
		len(file.Cases), parity, refused, both, table.String())
	if err := os.WriteFile(*processorTable, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// named tells whether a refusal names a field that the case sets.
func named(c processorCase, err error) bool {
	for _, word := range strings.FieldsFunc(c.Field, func(r rune) bool { return r == ' ' || r == ',' }) {
		if len(word) > 3 && strings.Contains(err.Error(), word) {
			return true
		}
	}
	return false
}

// compareView is the largest difference in levels.
func compareView(w *augment.Whole, m *data.Sample, c processorCase) (float64, error) {
	spec := w.Views()[0]
	n := 3 * spec.Height * spec.Width
	if len(c.Shape) != 3 || c.Shape[0] != 3 || c.Shape[1] != spec.Height || c.Shape[2] != spec.Width {
		return 0, fmt.Errorf("%d x %d pixels, the library makes %v", spec.Height, spec.Width, c.Shape)
	}
	out := make([]float32, n)
	if err := w.Apply(m, data.Key{}, [][]float32{out}); err != nil {
		return 0, err
	}
	b, err := base64.StdEncoding.DecodeString(c.Pixels)
	if err != nil || len(b) != 4*n {
		return 0, fmt.Errorf("%d bytes of pixels, %v", len(b), err)
	}
	worst := 0.0
	for i, got := range out {
		want := math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		worst = max(worst, math.Abs(float64(got-want))/c.Level)
	}
	return worst, nil
}
