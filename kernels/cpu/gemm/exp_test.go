package gemm

import (
	"golang.org/x/sys/unix"
	"runtime"

	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dino-mx/dmx/kernels/cpu/pool"
	"github.com/dino-mx/dmx/kernels/cpu/vec"
)

func cpuNow() time.Duration {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
	return time.Duration(ts.Nano())
}

func minTime(f func(), budget time.Duration) time.Duration {
	best := time.Hour
	for end := time.Now().Add(budget); time.Now().Before(end); {
		s := cpuNow()
		f()
		best = min(best, cpuNow()-s)
	}
	return best
}

func TestExp(t *testing.T) {
	if os.Getenv("EXP") == "" {
		t.Skip()
	}
	if os.Getenv("ISA") == "avx2" {
		vec.Use(vec.AVX2)
	}
	runtime.LockOSThread()
	p := pool.New(1)
	x := New(p)
	type sh struct {
		m, n, k int
		trans   string
	}
	var shapes []sh
	for _, l := range strings.Fields(os.Getenv("EXP")) {
		var v sh
		fmt.Sscanf(l, "%dx%dx%d/%s", &v.m, &v.n, &v.k, &v.trans)
		shapes = append(shapes, v)
	}
	variants := []expVariant{{"base", nil}}
	variants = append(variants, expVariants()...)
	{
		for _, s := range shapes {
			g := operands(s.m, s.n, s.k, s.trans)
			line := fmt.Sprintf("%dx%dx%d %s", s.m, s.n, s.k, s.trans)
			fl := 2 * float64(g.M) * float64(g.N) * float64(g.K)
			best := make([]time.Duration, len(variants))
			for i := range best {
				best[i] = time.Hour
			}
			n := 1 << 22
			var peak time.Duration = time.Hour
			for range 4 {
				for i, v := range variants {
					_ = v.tweak
					best[i] = min(best[i], minTime(func() { x.Run(&g) }, 40*time.Millisecond))
				}
				peak = min(peak, minTime(func() { current().peak(n >> 8) }, 10*time.Millisecond))
			}
			pk := float64(n>>8) * float64(current().peakFlops) / float64(peak.Nanoseconds())
			for i, v := range variants {
				line += fmt.Sprintf("  %s %.1f", v.name, 100*fl/float64(best[i].Nanoseconds())/pk)
			}
			fmt.Println(line)
		}
	}
}
