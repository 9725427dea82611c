package optest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/dino-mx/dmx/kernels"
)

// Failure is one row that a backend did not pass.
type Failure struct {
	Op, Type, Row string
	Err           error
}

func (f Failure) String() string { return fmt.Sprintf("%s/%s/%s: %v", f.Op, f.Type, f.Row, f.Err) }

// Run runs every row of the table on b as a subtest operation/type/row.
func Run(t *testing.T, b kernels.Backend, opts ...Option) {
	t.Helper()
	o := collect(opts)
	for _, group := range groups(&o) {
		t.Run(group[0].op, func(t *testing.T) {
			for _, dtype := range o.types {
				t.Run(dtype.String(), func(t *testing.T) {
					var list []request
					for _, s := range group {
						list = append(list, request{s, dtype})
					}
					prepared(list, &o, func(q request, r *row) bool {
						t.Run(q.spec.name, func(t *testing.T) {
							if err := r.check(b); err != nil {
								t.Error(err)
							}
						})
						return true
					})
				})
			}
		})
	}
}

// Check runs the table like Run and returns what failed.
func Check(b kernels.Backend, opts ...Option) []Failure {
	var failures []Failure
	Walk(b, func(c Case) bool {
		if c.Err != nil {
			failures = append(failures, Failure{c.Op, c.Type, c.Row, c.Err})
		}
		return true
	}, opts...)
	return failures
}

// Case is one row that a backend has run.
type Case struct {
	Op, Type, Row string
	// Bytes is the least traffic of the operation: every input read once, every output written once.
	Bytes int64
	Err   error
}

// Walk runs the table like Run and shows each row to f in turn, until f returns false.
func Walk(b kernels.Backend, f func(Case) bool, opts ...Option) {
	o := collect(opts)
	prepared(requests(&o), &o, func(q request, r *row) bool { return f(q.result(r, r.check(b))) })
}

// result is the Case of a row that was run with the given outcome.
func (q request) result(r *row, err error) Case {
	return Case{q.spec.op, q.dtype.String(), q.spec.name, r.bytes(), err}
}

// Ops lists the operations that have rows.
func Ops() []string {
	var ops []string
	for _, group := range groups(&options{}) {
		ops = append(ops, group[0].op)
	}
	return ops
}

// groups is the wanted rows by operation, in the table's order.
func groups(o *options) [][]*spec {
	var list [][]*spec
	at := map[string]int{}
	for _, s := range table() {
		if !o.wants(s) {
			continue
		}
		i, ok := at[s.op]
		if !ok {
			i = len(list)
			at[s.op] = i
			list = append(list, nil)
		}
		list[i] = append(list[i], s)
	}
	if o.largest > 0 {
		for i, group := range list {
			list[i] = []*spec{slices.MaxFunc(group, func(a, b *spec) int { return cmp.Compare(a.work, b.work) })}
		}
	}
	if o.each > 0 {
		for i, group := range list {
			list[i] = spread(group, o.each)
		}
	}
	return list
}

// spread picks n of the rows: the middles of n equal stretches.
func spread(group []*spec, n int) []*spec {
	if len(group) <= n {
		return group
	}
	some := make([]*spec, n)
	for i := range some {
		some[i] = group[(2*i+1)*len(group)/(2*n)]
	}
	return some
}

// check runs the row, whose oracle has been evaluated, and returns everything that is wrong with it.
func (r *row) check(b kernels.Backend) error {
	if err := r.run(b); err != nil {
		return err
	}
	var errs []error
	for _, o := range r.operands {
		switch o.role {
		case in:
			for i, v := range o.val {
				if o.got[i] != v && (v == v || o.got[i] == o.got[i]) {
					errs = append(errs, fmt.Errorf("input %s%v[%s] was changed from %v to %v", o.name, o.shape, position(o.shape, i), v, o.got[i]))
					break
				}
			}
		case out, inout:
			if err := r.compare(o); err != nil {
				errs = append(errs, err)
			}
		}
	}
	if r.verify != nil && len(errs) == 0 {
		if err := r.verify(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// run calls the operation on guarded memory of b and fills got.
func (r *row) run(b kernels.Backend) error {
	mem, err := r.upload(b)
	defer release(mem)
	if err != nil {
		return err
	}
	r.call(b)
	if err := b.Sync(); err != nil {
		return fmt.Errorf("device fault: %w", err)
	}
	var errs []error
	for i, o := range r.operands {
		o.got, err = mem[i].read()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %s%v: %w", o.name, o.dtype, o.shape, err))
		}
	}
	return errors.Join(errs...)
}

// upload gives every operand a tensor of b.
func (r *row) upload(b kernels.Backend) ([]*guarded, error) {
	var mem []*guarded
	for _, o := range r.operands {
		g, err := guard(b, o.dtype, o.shape, r.shifted)
		if err != nil {
			return mem, err
		}
		g.write(o.val)
		o.t = g.t
		mem = append(mem, g)
	}
	return mem, b.Sync()
}

func release(mem []*guarded) {
	for _, g := range mem {
		g.free()
	}
}
