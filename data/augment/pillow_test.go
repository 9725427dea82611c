package augment

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"image"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/dino-mx/dmx/data"
)

// fixture is one line of testdata/cases.json, made by testdata/make.py with Pillow and torchvision.
type fixture struct {
	Op, Source, File, Filter string
	Box, Size, Order         []int
	FloatBox                 []float64 `json:"float_box"`
	Value, Sigma             float64
	Factor                   []float64
	Grey, Solarise, Flip     bool
}

type fixtures struct {
	Cases      []fixture
	AllColours map[string]string `json:"all_colours"`
	Normalised string            `json:"normalised_sha256"`
}

func readFixtures(t testing.TB) fixtures {
	t.Helper()
	text, err := os.ReadFile("testdata/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var f fixtures
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Cases) < 40 {
		t.Fatalf("only %d cases", len(f.Cases))
	}
	return f
}

func readPNG(t testing.TB, name string) *data.Image {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p, err := png.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	m := new(data.Image)
	w, h := p.Bounds().Dx(), p.Bounds().Dy()
	if g, ok := p.(*image.Gray); ok {
		m.Reset(1, h, w, data.U8)
		for y := range h {
			copy(m.U8[y*w:], g.Pix[y*g.Stride:][:w])
		}
		return m
	}
	m.Reset(3, h, w, data.U8)
	for y := range h {
		for x := range w {
			r, g, b, _ := p.At(x, y).RGBA()
			for c, v := range [3]uint32{r, g, b} {
				m.U8[(c*h+y)*w+x] = uint8(v >> 8)
			}
		}
	}
	return m
}

func toPlanes(m *data.Image) planes8 {
	v := make(planes8, m.Channels)
	v.reset(m.Height, m.Width)
	for c := range v {
		for y := range m.Height {
			copy(v[c].pix[y*v[c].stride:], m.Plane8(c)[y*m.Width:(y+1)*m.Width])
		}
	}
	return v
}

// sameAs compares planes with a picture, level by level.
func sameAs(t *testing.T, what string, v planes8, want *data.Image) {
	t.Helper()
	if len(v) != want.Channels || v[0].height != want.Height || v[0].width != want.Width {
		t.Fatalf("%s: %d channels of %d x %d, expected %d of %d x %d", what, len(v), v[0].height, v[0].width, want.Channels, want.Height, want.Width)
	}
	wrong, worst := 0, 0
	for c := range v {
		for y := range want.Height {
			for x := range want.Width {
				d := int(v[c].pix[y*v[c].stride+x]) - want.At(c, y, x)
				if d != 0 {
					wrong++
					worst = max(worst, d, -d)
				}
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%s: %d of %d samples differ, by at most %d levels", what, wrong, len(want.U8), worst)
	}
}

func filterNamed(s string) Filter {
	if s == "bilinear" {
		return Bilinear
	}
	return Bicubic
}

// TestOperationsEqualPillow compares every operation, and whole views, with the pictures Pillow and torchvision made.
// No difference is allowed.
func TestOperationsEqualPillow(t *testing.T) {
	onEveryPath(t, func(t *testing.T) {
		for _, f := range readFixtures(t).Cases {
			source := readPNG(t, f.Source+".png")
			want := readPNG(t, f.File)
			w := new(worker)
			if err := w.prepare(&data.Sample{Image: *source}, source.Channels); err != nil {
				t.Fatal(err)
			}
			v := toPlanes(source)
			crop := func() {
				v.reset(f.Size[0], f.Size[1])
				w.resize8(v, &w.picture, box{f.Box[0], f.Box[1], f.Box[2], f.Box[3]}, filterNamed(f.Filter), f.Flip, false)
			}
			switch f.Op {
			case "crop":
				crop()
			case "box":
				r := &w.resizer
				r.across.build(Bicubic, source.Width, f.FloatBox[0], f.FloatBox[2], f.Size[1])
				r.down.build(Bicubic, source.Height, f.FloatBox[1], f.FloatBox[3], f.Size[0])
				v.reset(f.Size[0], f.Size[1])
				r.both(v, &w.picture, box{0, 0, source.Height, source.Width}, false, false)
			case "brightness":
				v.brighten(f.Value)
			case "contrast":
				v.contrast(f.Value)
			case "saturation":
				v.saturate(f.Value)
			case "hue":
				v.turnHue(f.Value)
			case "blur":
				v.colour(&choice{sigma: f.Value}, &w.blurrer)
			case "solarise":
				v.solarise()
			case "grey":
				v.grey()
			case "view":
				crop()
				d := choice{jitter: true, order: [4]int(f.Order), factor: [4]float64(f.Factor), grey: f.Grey, sigma: f.Sigma, solarise: f.Solarise}
				v.colour(&d, &w.blurrer)
			default:
				t.Fatalf("unknown operation %q", f.Op)
			}
			sameAs(t, f.File+" "+f.Op, v, want)
		}
	})
}

// TestAllColoursEqualPillow compares the colour operations on all 2^24 colours by the hash of the result.
func TestAllColoursEqualPillow(t *testing.T) {
	operations := map[string]func(planes8){
		"hue 0.1":         func(v planes8) { v.turnHue(0.1) },
		"hue -0.27":       func(v planes8) { v.turnHue(-0.27) },
		"saturation 1.2":  func(v planes8) { v.saturate(1.2) },
		"saturation 0.45": func(v planes8) { v.saturate(0.45) },
		"grey":            func(v planes8) { v.grey() },
	}
	onEveryPath(t, func(t *testing.T) {
		const rows = 64 // of 4096, at a time
		v := make(planes8, 3)
		v.reset(rows, 4096)
		raw := make([]byte, 3*rows*4096)
		for name, want := range readFixtures(t).AllColours {
			if testing.Short() && name != "hue 0.1" {
				continue
			}
			h := sha256.New()
			for at := 0; at < 1<<24; at += rows * 4096 {
				for i := range rows * 4096 {
					c := at + i
					v[0].pix[i], v[1].pix[i], v[2].pix[i] = uint8(c), uint8(c>>8), uint8(c>>16)
				}
				operations[name](v)
				for i := range rows * 4096 {
					raw[3*i], raw[3*i+1], raw[3*i+2] = v[0].pix[i], v[1].pix[i], v[2].pix[i]
				}
				h.Write(raw)
			}
			if got := hex.EncodeToString(h.Sum(nil)); got != want {
				t.Errorf("%s: hash %s, expected %s", name, got, want)
			}
		}
	})
}

func TestNormaliseEqualsTorchvision(t *testing.T) {
	n, err := newNormaliser(3, []float64{0.485, 0.456, 0.406}, []float64{0.229, 0.224, 0.225})
	if err != nil {
		t.Fatal(err)
	}
	v := make(planes8, 3)
	v.reset(16, 16)
	for c := range v {
		for i := range 256 {
			v[c].pix[i/16*v[c].stride+i%16] = uint8(i)
		}
	}
	out := make([]float32, 3*256)
	n.write8(out, v, 0, 0, 16, 16)
	raw := make([]byte, 0, 4*len(out))
	for _, f := range out {
		b := math.Float32bits(f)
		raw = append(raw, byte(b), byte(b>>8), byte(b>>16), byte(b>>24))
	}
	sum := sha256.Sum256(raw)
	if got := hex.EncodeToString(sum[:]); got != readFixtures(t).Normalised {
		t.Errorf("hash %s", got)
	}
}
