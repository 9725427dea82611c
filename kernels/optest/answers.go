package optest

import (
	"fmt"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// RowName names one row of the table and the working type to run it with.
type RowName struct {
	Op, Row string
	Type    tensor.DType
}

func (n RowName) String() string { return fmt.Sprintf("%s/%s/%s", n.Op, n.Type, n.Row) }

// Answers runs the named rows on b, with tensors as they are aligned in a run, and returns their outcomes in order. It
// panics where the table has no such row.
func Answers(b kernels.Backend, names []RowName) []Case {
	type key struct{ op, row string }
	specs := map[key]*spec{}
	for _, s := range table() {
		specs[key{s.op, s.name}] = s
	}
	list := make([]request, len(names))
	for i, n := range names {
		s := specs[key{n.Op, n.Row}]
		if s == nil {
			panic("optest: the table has no row " + n.String())
		}
		list[i] = request{s, n.Type}
	}
	cases := make([]Case, 0, len(names))
	prepared(list, &options{aligned: true}, func(q request, r *row) bool {
		cases = append(cases, q.result(r, r.check(b)))
		return true
	})
	return cases
}
