package gemm

import (
	"runtime"
	"sync"
	"time"
)

// PeakGFLOPS measures what the machine can multiply and add at most in the vector width in use: a loop of
// independent fused multiply-adds on registers, on the given number of threads at once, in 10⁹ operations a
// second (a multiply-add counts as two). It takes about 3 ms. Clock rates and neighbours change from moment to
// moment, so a share of peak is only fair against a peak measured next to it.
func PeakGFLOPS(threads int) float64 {
	const window = time.Millisecond
	kn := current()
	n := 1000
	for {
		start := time.Now()
		kn.peak(n)
		if d := time.Since(start); d > window/4 {
			n = max(1, int(float64(n)*float64(window)/float64(d)))
			break
		}
		n *= 2
	}
	best := 0.0
	for range 2 {
		var begin, end sync.WaitGroup
		times := make([]time.Duration, threads)
		begin.Add(threads)
		for t := range threads {
			end.Add(1)
			go func() {
				defer end.Done()
				begin.Done()
				begin.Wait()
				start := time.Now()
				kn.peak(n)
				times[t] = time.Since(start)
			}()
		}
		end.Wait()
		sum := 0.0
		for _, d := range times {
			sum += float64(n) * float64(kn.peakFlops) / float64(d.Nanoseconds())
		}
		best = max(best, sum)
	}
	return best
}

// peakGo is the scalar form: eight chains of a multiplication and an addition, as the portable tile has them.
func peakGo(n int) {
	var s [8]float32
	a, b := float32(0.5), float32(0.25)
	s0, s1, s2, s3, s4, s5, s6, s7 := s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]
	for range n {
		s0 += a * b
		s1 += a * s0
		s2 += a * b
		s3 += b * s2
		s4 += a * b
		s5 += a * s4
		s6 += a * b
		s7 += b * s6
	}
	runtime.KeepAlive(s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7)
}
