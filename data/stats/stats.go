// Package stats measures the pixels of a source.
package stats

import (
	"fmt"
	"math"
	"math/bits"
	"runtime"
	"sync"

	"github.com/dino-mx/dmx/data"
)

// Statistics are the mean and the standard deviation of every channel over the pixels of a source, with samples
// scaled to 0…1.
type Statistics struct {
	Mean, Std []float64
	Images    int // images measured
}

// sums are exact: the sum of samples and the sum of their squares, each as a 128-bit integer over 65535 levels, so
// that their order, and with it the number of workers, does not matter.
type sums struct {
	n        uint64
	s        uint64
	sqHi, sq uint64
}

func (a *sums) add(n, s, sqHi, sq uint64) {
	a.n += n
	a.s += s
	var carry uint64
	a.sq, carry = bits.Add64(a.sq, sq, 0)
	a.sqHi, _ = bits.Add64(a.sqHi, sqHi, carry)
}

// Measure computes the statistics of at most limit images, evenly spaced over the source (0: all of them). The
// result does not depend on the number of workers. Unreadable images are left out; it is an error if all are.
func Measure(src data.Source, limit int) (Statistics, error) {
	n := src.Len()
	if limit > 0 && limit < n {
		n = limit
	}
	c := src.Channels()
	workers := min(runtime.GOMAXPROCS(0), max(1, n))
	var (
		mu    sync.Mutex
		total = make([]sums, c)
		ok    int
		bad   = -1
		cause error
		wg    sync.WaitGroup
	)
	for w := range workers {
		wg.Go(func() {
			var s data.Sample
			mine, good := make([]sums, c), 0
			for k := w; k < n; k += workers {
				i := int(int64(k) * int64(src.Len()) / int64(n))
				if err := src.Decode(i, &s); err != nil {
					mu.Lock()
					if bad < 0 || i < bad {
						bad, cause = i, err
					}
					mu.Unlock()
					continue
				}
				good++
				for ch := range c {
					measure(&s, ch, &mine[ch])
				}
			}
			mu.Lock()
			defer mu.Unlock()
			ok += good
			for ch := range c {
				total[ch].add(mine[ch].n, mine[ch].s, mine[ch].sqHi, mine[ch].sq)
			}
		})
	}
	wg.Wait()
	if ok == 0 {
		if cause == nil {
			return Statistics{}, fmt.Errorf("measure mean and standard deviation: the source has no images")
		}
		return Statistics{},
			fmt.Errorf("measure mean and standard deviation: none of %d images can be read; the first error: %w", n, cause)
	}
	st := Statistics{Mean: make([]float64, c), Std: make([]float64, c), Images: ok}
	for ch, t := range total {
		const top = 65535
		mean := float64(t.s) / float64(t.n)
		square := (float64(t.sqHi)*(1<<64) + float64(t.sq)) / float64(t.n)
		st.Mean[ch] = mean / top
		st.Std[ch] = math.Sqrt(max(0, square-mean*mean)) / top
	}
	return st, nil
}

// measure adds one channel, on the scale of 65535: an 8-bit sample counts 257 times. Samples of other types are rounded
// to that scale.
func measure(sample *data.Sample, ch int, into *sums) {
	m := &sample.Image
	n := uint64(m.Height * m.Width)
	var s, sq uint64
	plain := sample.Values.Low == 0 && sample.Values.High == 0
	switch {
	case plain && m.Type == data.U8:
		for _, v := range m.Plane8(ch) {
			s += uint64(v)
			sq += uint64(v) * uint64(v)
		}
		hi, lo := bits.Mul64(sq, 257*257)
		into.add(n, s*257, hi, lo)
		return
	case plain && m.Type == data.U16:
		for _, v := range m.Plane16(ch) {
			s += uint64(v)
			sq += uint64(v) * uint64(v)
		}
	default:
		factor, offset := sample.Scale()
		row := make([]float32, m.Width)
		for y := range m.Height {
			m.Row(ch, y, 0, row)
			for _, v := range row {
				level := uint64(65535*max(0, min(1, float64(v)*factor+offset)) + .5)
				s += level
				sq += level * level
			}
		}
	}
	into.add(n, s, 0, sq)
}
