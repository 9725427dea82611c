//go:build unix

package gemm

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu/pool"
	"github.com/dino-mx/dmx/tensor"
)

// Operands may end where the memory of the process ends, as the last tensor of a mapped file does: nothing is read
// behind them.
func TestReadsNothingBehindOperands(t *testing.T) {
	page := os.Getpagesize()
	room := 160 * page
	host, err := unix.Mmap(-1, 0, 2*(room+page), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(host)
	buf := &tensor.Buffer{Host: host, Size: len(host)}
	// before is a tensor that ends at byte end; a page that cannot be touched follows it.
	before := func(end, rows, cols int) *tensor.Tensor {
		return tensor.Over(buf, end-4*rows*cols, tensor.F32, rows, cols)
	}
	ends := []int{room, 2*room + page}
	for _, end := range ends {
		if err := unix.Mprotect(host[end:end+page], unix.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	p := pool.New(2)
	defer p.Close()
	x := New(p)
	for _, m := range []int{1, 5, 50} {
		for _, n := range []int{1, 8, 15, 17, 33, 100, 192} {
			for _, k := range []int{1, 7, 16, 100, 385, 770} {
				for _, trans := range []bool{false, true} {
					g := kernels.Gemm{M: m, N: n, K: k, TransB: trans, TransA: trans, Out: tensor.Zeros(tensor.F32, m, n)}
					if trans {
						g.A, g.B = before(ends[0], k, m), before(ends[1], n, k)
					} else {
						g.A, g.B = before(ends[0], m, k), before(ends[1], k, n)
					}
					x.Run(&g) // reading further ends the program
				}
			}
		}
	}
}
