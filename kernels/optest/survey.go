package optest

import (
	"fmt"
	"slices"

	"github.com/dino-mx/dmx/kernels"
)

// Subject is one backend under test in a Survey, for example one version of the kernels of a device.
type Subject struct {
	Name    string
	Backend kernels.Backend
	// Ops restricts the subject to some operations; nil runs all.
	Ops []string
	// Repeat runs every row a second time and requires the same bits.
	Repeat bool
}

// Finding is one row that one subject has run.
type Finding struct {
	Subject string
	Case
}

// Survey evaluates the oracle of every wanted row once, runs the row on each subject that wants it, and reports each
// run to f until f returns false. Rows come in rounds: in each round every operation and type has one row, spread over
// the operation's rows, so that a survey that is stopped early has seen a sample of everything.
func Survey(subjects []Subject, f func(Finding) bool, opts ...Option) {
	o := collect(opts)
	list := slices.DeleteFunc(requests(&o), func(q request) bool {
		return !slices.ContainsFunc(subjects, func(s Subject) bool { return s.wants(q.spec.op) })
	})
	prepared(inRounds(list), &o, func(q request, r *row) bool {
		for _, s := range subjects {
			if s.wants(q.spec.op) && !f(Finding{s.Name, q.result(r, s.examine(r))}) {
				return false
			}
		}
		return true
	})
}

// SurveySize is the number of findings that Survey reports when it is not stopped.
func SurveySize(subjects []Subject, opts ...Option) int {
	o, n := collect(opts), 0
	for _, q := range requests(&o) {
		for _, s := range subjects {
			if s.wants(q.spec.op) {
				n++
			}
		}
	}
	return n
}

func (s *Subject) wants(op string) bool { return s.Ops == nil || slices.Contains(s.Ops, op) }

// examine checks the row, and with Repeat runs it again.
func (s *Subject) examine(r *row) error {
	if err := r.check(s.Backend); err != nil || !s.Repeat {
		return err
	}
	first := make([][]float64, len(r.operands))
	for i, x := range r.operands {
		first[i] = x.got
	}
	second, err := r.bits(s.Backend)
	if err != nil {
		return fmt.Errorf("second run: %w", err)
	}
	return r.same(first, second, "first run", "second")
}

// inRounds reorders rows that lie operation by operation and type by type: first one row of every operation and type,
// then another of each, and so on. The rows of one operation are visited by halving: the middle first, then the middles
// of the halves.
func inRounds(list []request) []request {
	type family struct{ op, dtype string }
	var order []family
	rows := map[family][]request{}
	for _, q := range list {
		k := family{q.spec.op, q.dtype.String()}
		if rows[k] == nil {
			order = append(order, k)
		}
		rows[k] = append(rows[k], q)
	}
	rounds := 0
	for k, r := range rows {
		rows[k] = byHalving(r)
		rounds = max(rounds, len(r))
	}
	out := make([]request, 0, len(list))
	for i := range rounds {
		for _, k := range order {
			if i < len(rows[k]) {
				out = append(out, rows[k][i])
			}
		}
	}
	return out
}

// byHalving returns the elements of list in the order of a breadth-first walk over its halves.
func byHalving[T any](list []T) []T {
	type span struct{ lo, hi int }
	out := make([]T, 0, len(list))
	for queue := []span{{0, len(list)}}; len(queue) > 0; queue = queue[1:] {
		s := queue[0]
		if s.lo >= s.hi {
			continue
		}
		mid := (s.lo + s.hi) / 2
		out = append(out, list[mid])
		queue = append(queue, span{s.lo, mid}, span{mid + 1, s.hi})
	}
	return out
}
