package optest

import (
	"fmt"
	"math"
	"testing"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// Deterministic runs the table on the backends that newBackend returns for 1, 2 and 4 threads, and asks for the same bits.
// The rows of Benchmark are part of it (unless MaxWork leaves them out), since small rows are not split.
func Deterministic(t *testing.T, newBackend func(threads int) kernels.Backend, opts ...Option) {
	t.Helper()
	o := collect(opts)
	o.bench = true
	one := newBackend(1)
	others := map[string]kernels.Backend{"2 threads": newBackend(2), "4 threads": newBackend(4)}
	for _, group := range groups(&o) {
		t.Run(group[0].op, func(t *testing.T) {
			for _, dtype := range o.types {
				for _, s := range group {
					want, err := bits(one, s, dtype)
					if err != nil {
						t.Errorf("%s/%s: %v", dtype, s.name, err)
						continue
					}
					for name, b := range others {
						got, err := bits(b, s, dtype)
						if err == nil {
							err = want.same(got)
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

// bits runs one row and returns it with its results.
func bits(b kernels.Backend, s *spec, dtype tensor.DType) (*row, error) {
	r := s.row(dtype)
	return r, r.run(b)
}

func (r *row) same(other *row) error {
	for i, o := range r.operands {
		if o.role == in {
			continue
		}
		for j, v := range o.got {
			if w := other.operands[i].got[j]; math.Float64bits(v) != math.Float64bits(w) {
				return fmt.Errorf("%s %s%v[%s] is %v with one thread and %v with more", o.name, o.dtype, o.shape, position(o.shape, j), v, w)
			}
		}
	}
	return nil
}
