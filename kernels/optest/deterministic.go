package optest

import (
	"fmt"
	"math"
	"testing"

	"github.com/dino-mx/dmx/kernels"
)

// Deterministic runs the table on the backends that newBackend returns for 1, 2 and 4 threads, and asks for the same bits.
// Rows with enough work to be split among threads are part of it.
func Deterministic(t *testing.T, newBackend func(threads int) kernels.Backend, opts ...Option) {
	t.Helper()
	o := collect(opts)
	o.sizes = []size{tile, split}
	one := newBackend(1)
	others := map[string]kernels.Backend{"2 threads": newBackend(2), "4 threads": newBackend(4)}
	for _, group := range groups(&o) {
		t.Run(group[0].op, func(t *testing.T) {
			for _, dtype := range o.types {
				for _, s := range group {
					r := s.row(dtype)
					want, err := r.bits(one)
					if err != nil {
						t.Errorf("%s/%s: %v", dtype, s.name, err)
						continue
					}
					for name, b := range others {
						got, err := r.bits(b)
						if err == nil {
							err = r.same(want, got, "one thread", "more")
						}
						if err != nil {
							t.Errorf("%s/%s: %s: %v", dtype, s.name, name, err)
						}
					}
				}
			}
		})
	}
}

// bits runs the row and returns its results.
func (r *row) bits(b kernels.Backend) ([][]float64, error) {
	if err := r.run(b); err != nil {
		return nil, err
	}
	var results [][]float64
	for _, o := range r.operands {
		results = append(results, o.got)
	}
	return results, nil
}

// same compares the bits of the outputs of two runs, which a and b name in the message.
func (r *row) same(want, got [][]float64, a, b string) error {
	for i, o := range r.operands {
		if o.role == in {
			continue
		}
		for j, v := range want[i] {
			if w := got[i][j]; math.Float64bits(v) != math.Float64bits(w) {
				return fmt.Errorf("%s %s%v[%s] is %v with %s and %v with %s", o.name, o.dtype, o.shape, position(o.shape, j), v, a, w, b)
			}
		}
	}
	return nil
}
