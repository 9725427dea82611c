package augment

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/data"
)

// triangle is the antialiased bilinear weights of output sample i of out over in input samples, summing to one.
func triangle(in, out, i int) []float64 {
	scale := float64(in) / float64(out)
	wide := math.Max(scale, 1)
	centre := (float64(i) + .5) * scale
	w, sum := make([]float64, in), 0.0
	for k := range w {
		w[k] = math.Max(0, 1-math.Abs((float64(k)+.5-centre)/wide))
		sum += w[k]
	}
	for k := range w {
		w[k] /= sum
	}
	return w
}

// Whether a picture's memory has room behind its samples, which the kernels may read, does not show in what is made of
// it, down to its last row.
func TestRoomBehindPicture(t *testing.T) {
	const channels, height, width = 3, 21, 37
	crops, err := NewMultiCrop(Config{Channels: channels, Views: []View{{ViewSpec: data.ViewSpec{Count: 2, Height: 16, Width: 16}, Scale: [2]float64{1, 1}}}, Mean: []float64{0}, Std: []float64{1}})
	if err != nil {
		t.Fatal(err)
	}
	views := func(room int) [][]float32 {
		m := &data.Image{}
		m.Reset(channels, height, width, data.U8)
		m.U8 = make([]uint8, channels*height*width, channels*height*width+room)
		for i := range m.U8 {
			m.U8[i] = uint8(i * i)
		}
		out := [][]float32{make([]float32, channels*16*16), make([]float32, channels*16*16)}
		for sample := range uint32(20) {
			if err := crops.Apply(&data.Sample{Image: *m}, data.Key{Sample: sample}, out); err != nil {
				t.Fatal(err)
			}
		}
		return out
	}
	onEveryPath(t, func(t *testing.T) {
		if diff := cmp.Diff(views(0), views(4*lanes)); diff != "" {
			t.Error(diff)
		}
	})
}

// Float weighs 8-bit samples without rounding to levels in between.
func TestWholeFloat(t *testing.T) {
	const mean, std = .4, .2
	for _, size := range [][2]int{{3, 4}, {9, 8}, {5, 7}} {
		m := &data.Image{}
		m.Reset(2, 5, 7, data.U8)
		for i := range m.U8 {
			m.U8[i] = uint8(i * 97)
		}
		w, err := NewWhole(WholeConfig{Channels: 2, Height: size[0], Width: size[1], Filter: Bilinear, Float: true, Mean: []float64{mean}, Std: []float64{std}})
		if err != nil {
			t.Fatal(err)
		}
		out := make([]float32, 2*size[0]*size[1])
		if err := w.Apply(&data.Sample{Image: *m}, data.Key{}, [][]float32{out}); err != nil {
			t.Fatal(err)
		}
		for c := range 2 {
			for y := range size[0] {
				for x := range size[1] {
					want := 0.0
					for i, a := range triangle(5, size[0], y) {
						for j, b := range triangle(7, size[1], x) {
							want += a * b * float64(m.At(c, i, j)) / 255
						}
					}
					want = (want - mean) / std
					if got := float64(out[(c*size[0]+y)*size[1]+x]); math.Abs(got-want) > 1e-5 {
						t.Errorf("%v: channel %d at (%d, %d) is %g, want %g", size, c, y, x, got, want)
					}
				}
			}
		}
	}
}

// The centre is cut out where transformers or torchvision's transforms do, and zeros surround smaller pictures.
func TestWholePlaces(t *testing.T) {
	for _, c := range []struct {
		size, view int
		even       bool
		from, to   int // the first pixel that is seen, and where
	}{
		{43, 28, false, 7, 0}, {43, 28, true, 8, 0}, {33, 28, false, 2, 0}, {33, 28, true, 2, 0}, {30, 28, true, 1, 0},
		{4, 7, false, 0, 1}, {4, 7, true, 0, 1}, {4, 8, true, 0, 2},
	} {
		m := &data.Sample{}
		m.Image.Reset(1, 1, c.size, data.U8)
		for i := range m.Image.U8 {
			m.Image.U8[i] = uint8(i + 1)
		}
		w, err := NewWhole(WholeConfig{Channels: 1, Height: 1, Width: c.view, Keep: true, RoundToEven: c.even,
			Filter: Bicubic, Mean: []float64{0}, Std: []float64{1.0 / 255}})
		if err != nil {
			t.Fatal(err)
		}
		out := make([]float32, c.view)
		if err := w.Apply(m, data.Key{}, [][]float32{out}); err != nil {
			t.Fatal(err)
		}
		for x, got := range out {
			want := 0.0
			if at := x - c.to + c.from; x >= c.to && at < c.size {
				want = float64(at + 1)
			}
			if math.Abs(float64(got)-want) > 1e-4 {
				t.Errorf("%+v: pixel %d is %g, want %g", c, x, got, want)
			}
		}
	}
}

// Where the centre lies between two pixels the cut begins at the one before it, as in transformers.
func TestWholeCutsTheCentre(t *testing.T) {
	m := &data.Image{}
	m.Reset(1, 4, 7, data.U8)
	for i := range m.U8 {
		m.U8[i] = uint8(i)
	}
	for _, float := range []bool{false, true} {
		w, err := NewWhole(WholeConfig{Channels: 1, Height: 1, Width: 4, ShortSide: 4, Filter: Bicubic, Float: float, Mean: []float64{0}, Std: []float64{1.0 / 255}})
		if err != nil {
			t.Fatal(err)
		}
		out := make([]float32, 4)
		if err := w.Apply(&data.Sample{Image: *m}, data.Key{}, [][]float32{out}); err != nil {
			t.Fatal(err)
		}
		for x, got := range out {
			if want := float64(m.At(0, 1, 1+x)); math.Abs(float64(got)-want) > 1e-4 {
				t.Errorf("float %v: sample %d is %g, want %g", float, x, got, want)
			}
		}
	}
}
