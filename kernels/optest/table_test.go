package optest

import (
	"reflect"
	"slices"
	"testing"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/ref"
	"github.com/dino-mx/dmx/tensor"
	"github.com/google/go-cmp/cmp"
)

// The oracle on f32 and bf16 tensors is a backend like any other.
func TestRef(t *testing.T) { Run(t, ref.New()) }

// The oracle's backward operations against differences of its forwards, in float64 and as an f32 backend.
func TestRefGradients(t *testing.T) { Gradients(t, ref.New(), Types(tensor.F64, tensor.F32)) }

// Every operation of the contract has rows, and the emulator's selection keeps some of each.
func TestEveryOperationHasRows(t *testing.T) {
	methods := reflect.TypeFor[kernels.Backend]()
	var want []string
	for i := range methods.NumMethod() {
		switch name := methods.Method(i).Name; name {
		case "Name", "Allocator", "Sync", "Upload", "Download": // the table's own tools
		default:
			want = append(want, name)
		}
	}
	for _, tt := range []struct {
		name string
		opts []Option
	}{{"all", nil}, {"small", []Option{Small}}} {
		o := collect(tt.opts)
		var got []string
		for _, group := range groups(&o) {
			if !slices.ContainsFunc(group, func(s *spec) bool { return s.size == tile }) {
				t.Errorf("%s: %s has no rows around the edges", tt.name, group[0].op)
			}
			got = append(got, group[0].op)
		}
		slices.Sort(got)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
}

// Row names are the names of subtests, which must tell rows apart.
func TestRowNamesDiffer(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range table() {
		name := s.op + "/" + s.name
		if seen[name] {
			t.Errorf("two rows are called %s", name)
		}
		seen[name] = true
	}
}
