package nn

import (
	"hash/fnv"
	"math"
	"runtime"
	"sync"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// Init says how a parameter starts.
type Init struct {
	Dist  Dist
	Scale float64 // the constant, the standard deviation, or the bound
}

// Dist is a distribution of initial values.
type Dist uint8

// The distributions that the reference implementations use.
const (
	Constant    Dist = iota // Scale everywhere
	TruncNormal             // N(0, Scale²) truncated at ±2 (absolute, as in the reference implementations)
	Normal                  // N(0, Scale²)
	Uniform                 // U(-Scale, Scale)
)

// initPurpose separates the random streams of initial values from other streams of the seed.
const initPurpose = 0x01_00_00_01

// Init draws initial values for the parameters that match (all of them for a nil match). The values of a
// parameter depend on the seed and on its name alone, so parameters are drawn in parallel.
func (ps *Params) Init(b kernels.Backend, seed uint64, match func(*Param) bool) {
	var wait sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for _, p := range ps.list {
		if (match != nil && !match(p)) || p.Shape.Len() == 0 {
			continue
		}
		v := p.Value()
		switch {
		case p.Init.Dist == Constant:
			b.Fill(v, p.Init.Scale)
		case v.Device().Kind == tensor.CPU:
			slots <- struct{}{}
			wait.Go(func() {
				p.Init.draw(v, seed, p.Name)
				<-slots
			})
		default:
			host := tensor.Zeros(v.DType(), v.Shape()...)
			p.Init.draw(host, seed, p.Name)
			b.Upload(v, host)
		}
	}
	wait.Wait()
	ps.Sync(b)
}

// draw fills a host tensor.
func (in Init) draw(dst *tensor.Tensor, seed uint64, name string) {
	h := fnv.New64a()
	h.Write([]byte(name))
	key := h.Sum64()
	r := tensor.NewRand(seed, uint32(key), uint32(key>>32), initPurpose)
	for i := range dst.Len() {
		switch in.Dist {
		case TruncNormal:
			dst.Set(i, r.TruncNorm(in.Scale, 2))
		case Normal:
			dst.Set(i, in.Scale*r.Norm())
		default:
			dst.Set(i, r.Uniform(-in.Scale, in.Scale))
		}
	}
}

// fanIn is the framework default of linear layers and convolutions: U(±1/√fanIn).
func fanIn(n int) Init { return Init{Uniform, 1 / math.Sqrt(float64(n))} }
