package augment

import (
	"math"
	"testing"

	"github.com/dino-mx/dmx/data"
)

// filled is a sample whose stored values are at(c, y, x).
func filled(typ data.Type, channels, height, width int, at func(c, y, x int) float64) *data.Sample {
	s := new(data.Sample)
	m := &s.Image
	m.Reset(channels, height, width, typ)
	for c := range channels {
		for y := range height {
			for x := range width {
				i, v := (c*height+y)*width+x, at(c, y, x)
				switch typ {
				case data.U8:
					m.U8[i] = uint8(v)
				case data.U16:
					m.U16[i] = uint16(v)
				case data.I16:
					m.I16[i] = int16(v)
				default:
					m.F32[i] = float32(v)
				}
			}
		}
	}
	return s
}

func scene(c, y, x int) float64 { return float64((c*7919 + y*4001 + x*1013 + y*x*97) % 60001) }

func views(t *testing.T, crops data.Transform, s *data.Sample, sample uint32) [][]float32 {
	t.Helper()
	var out [][]float32
	for _, v := range crops.Views() {
		for range v.Count {
			out = append(out, make([]float32, crops.Channels()*v.Height*v.Width))
		}
	}
	if err := crops.Apply(s, data.Key{Seed: 3, Sample: sample}, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// Signed and float samples, and such with a slope and a range, give the views of the same image in 16 bits unsigned,
// with every operation.
func TestTypesOfSamples(t *testing.T) {
	crops, err := NewMultiCrop(Config{
		Channels: 3, HorizontalFlip: .5, VerticalFlip: .5, JitterProb: .8, Brightness: .4, Contrast: .4, Saturation: .2,
		Hue:      .1,
		GrayProb: .2, GammaProb: .3, GammaRange: [2]float64{.7, 1.5}, BlurSigma: [2]float64{.1, 2}, Mean: []float64{.4},
		Std: []float64{.2},
		Views: []View{{ViewSpec: data.ViewSpec{Count: 3, Height: 12, Width: 12}, Scale: [2]float64{.3, 1},
			Blur: []float64{.5}, Solarise: []float64{.2}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := filled(data.U16, 3, 20, 24, scene)
	same := map[string]*data.Sample{
		"int16":   filled(data.I16, 3, 20, 24, func(c, y, x int) float64 { return scene(c, y, x) - 32768 }),
		"float32": filled(data.F32, 3, 20, 24, func(c, y, x int) float64 { return scene(c, y, x) / 65535 }),
		"int16 with a range": filled(data.I16, 3, 20, 24, func(c, y, x int) float64 {
			return scene(c, y, x) - 30000
		}),
		"float32 with a slope": filled(data.F32, 3, 20, 24, func(c, y, x int) float64 { return scene(c, y, x) / 2 }),
	}
	same["int16 with a range"].Values = data.Values{Unit: "HU", Intercept: -1000, Low: -31000, High: 34535}
	same["float32 with a slope"].Values = data.Values{Slope: 2, Low: 0, High: 65535}
	for sample := range uint32(10) {
		exact := views(t, crops, want, sample)
		for name, s := range same {
			for v, view := range views(t, crops, s, sample) {
				worst := 0.0
				for i := range view {
					worst = max(worst, math.Abs(float64(view[i]-exact[v][i])))
				}
				if worst > 2e-5 {
					t.Errorf("%s, sample %d, view %d: differs by %g", name, sample, v, worst)
				}
			}
		}
	}
	whole, err := NewWhole(WholeConfig{Channels: 3, Height: 9, Width: 9, Mean: []float64{.4}, Std: []float64{.2}})
	if err != nil {
		t.Fatal(err)
	}
	exact := views(t, whole, want, 0)[0]
	for name, s := range same {
		for i, v := range views(t, whole, s, 0)[0] {
			if math.Abs(float64(v-exact[i])) > 2e-5 {
				t.Fatalf("%s, whole: %g is not %g", name, v, exact[i])
			}
		}
	}
}

// What lies outside the range of values is limited to it, in 8 bits too.
func TestRangeOfValues(t *testing.T) {
	whole, err := NewWhole(WholeConfig{Channels: 1, Height: 1, Width: 4, Mean: []float64{0}, Std: []float64{1}})
	if err != nil {
		t.Fatal(err)
	}
	stored := [4]float64{0, 50, 100, 200}
	for _, typ := range []data.Type{data.U8, data.U16, data.I16, data.F32} {
		s := filled(typ, 1, 1, 4, func(_, _, x int) float64 { return stored[x] })
		s.Values = data.Values{Slope: 10, Intercept: -1000, Unit: "HU", Low: -500, High: 500}
		for x, v := range views(t, whole, s, 0)[0] {
			if want := [4]float32{0, 0, .5, 1}[x]; math.Abs(float64(v-want)) > 1e-6 {
				t.Errorf("type %d: %g is scaled to %g, want %g", typ, stored[x], v, want)
			}
		}
	}
}

// A mask, a box and a point follow the image through crop, resize and flips.
func TestLabelsFollowTheImage(t *testing.T) {
	crops, err := NewMultiCrop(Config{
		Channels: 1, HorizontalFlip: .5, VerticalFlip: .5, Filter: Bilinear, Mean: []float64{0}, Std: []float64{1},
		Views: []View{
			{ViewSpec: data.ViewSpec{Name: "global", Count: 2, Height: 48, Width: 40}, Scale: [2]float64{.5, 1}},
			{ViewSpec: data.ViewSpec{Name: "local", Role: data.Local, Count: 3, Height: 24, Width: 24}, Scale: [2]float64{.1,
				.4}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	const height, width, top, left, tall, wide = 60, 50, 14, 9, 22, 18
	inside := func(y, x int) bool { return y >= top && y < top+tall && x >= left && x < left+wide }
	s := filled(data.U8, 1, height, width, func(_, y, x int) float64 {
		if inside(y, x) {
			return 255
		}
		return 0
	})
	found := 0
	for _, typ := range []data.Type{data.U8, data.U16} {
		mask := filled(typ, 1, height, width, func(_, y, x int) float64 {
			if inside(y, x) {
				return 3
			}
			return 1
		})
		for sample := range uint32(20) {
			pictures := views(t, crops, s, sample)
			at := 0
			for _, spec := range crops.Views() {
				for range spec.Count {
					g := crops.Geometry(s, data.Key{Seed: 3, Sample: sample}, at)
					var view data.Image
					g.Mask(&view, &mask.Image)
					b, ok := g.Box(data.Box{Top: top, Left: left, Height: tall, Width: wide, Class: 5})
					middle, in := g.Point(data.Point{Y: top + tall/2, X: left + wide/2, Class: 7})
					if ok && b.Class != 5 || middle.Class != 7 {
						t.Errorf("the classes of box and point are %d and %d", b.Class, middle.Class)
					}
					for i, v := range pictures[at] {
						y, x := float64(i/spec.Width)+.5, float64(i%spec.Width)+.5
						label := view.At(0, i/spec.Width, i%spec.Width)
						inBox := ok && y > b.Top && y < b.Top+b.Height && x > b.Left && x < b.Left+b.Width
						if v > .99 && (label != 3 || !inBox) || v < .01 && (label != 1 || inBox) {
							t.Fatalf("sample %d, view %d, pixel %v, %v: level %g, label %d, in the box %v", sample, at, y, x, v, label,
								inBox)
						}
						if label == 3 {
							found++
						}
					}
					if in && pictures[at][int(middle.Y)*spec.Width+int(middle.X)] < .99 {
						t.Errorf("sample %d, view %d: the middle of the box is not bright", sample, at)
					}
					at++
				}
			}
		}
	}
	if found < 1000 {
		t.Errorf("only %d pixels of views have the label", found)
	}
}
