package stats

import (
	"math"
	"runtime"
	"testing"

	"github.com/dino-mx/dmx/data"
)

// ramp is a source whose pictures hold the same levels in a type of samples.
type ramp struct{ typ data.Type }

func (ramp) Len() int              { return 7 }
func (ramp) Label(int) (int, bool) { return 0, false }
func (ramp) ID(int) string         { return "ramp" }
func (ramp) Classes() []string     { return nil }
func (ramp) Channels() int         { return 2 }
func (r ramp) Decode(i int, s *data.Sample) error {
	s.Reset()
	m := &s.Image
	m.Reset(2, 3, 5, r.typ)
	for k := range 30 {
		level := (k*k*31 + i*17) % 256
		switch r.typ {
		case data.U8:
			m.U8[k] = uint8(level)
		case data.U16:
			m.U16[k] = uint16(level * 257)
		case data.I16:
			m.I16[k] = int16(level*10 - 1000)
			s.Values = data.Values{Unit: "HU", Low: -1000, High: 1550}
		default:
			m.F32[k] = float32(level) / 255
		}
	}
	return nil
}

// The statistics of the same levels are the same in every type, and on any number of processors.
func TestMeasureTypes(t *testing.T) {
	var want [2][2]float64
	for ch := range want {
		n, sum, square := 0.0, 0.0, 0.0
		for i := range 7 {
			for k := ch * 15; k < ch*15+15; k++ {
				v := float64((k*k*31+i*17)%256) / 255
				n, sum, square = n+1, sum+v, square+v*v
			}
		}
		want[ch] = [2]float64{sum / n, math.Sqrt(square/n - sum*sum/n/n)}
	}
	for _, procs := range []int{1, 4} {
		before := runtime.GOMAXPROCS(procs)
		for _, typ := range []data.Type{data.U8, data.U16, data.I16, data.F32} {
			got, err := Measure(ramp{typ}, 0)
			if err != nil {
				t.Fatal(err)
			}
			for ch, w := range want {
				if math.Abs(got.Mean[ch]-w[0]) > 1e-9 || math.Abs(got.Std[ch]-w[1]) > 1e-9 {
					t.Errorf("type %d, channel %d: mean %v, std %v, want %v", typ, ch, got.Mean[ch], got.Std[ch], w)
				}
			}
		}
		runtime.GOMAXPROCS(before)
	}
}
