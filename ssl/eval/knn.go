package eval

import (
	"fmt"
	"math"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// KNN is the weighted nearest-neighbour classifier of DINO (after Wu et al., arXiv 1805.01978): the K neighbours
// of highest cosine similarity vote for their class with exp(similarity / Temperature).
type KNN struct {
	K           int
	Temperature float64 // 0.07 in all recipes
}

// queryRows is the number of queries whose similarities to the whole bank exist at a time.
const queryRows = 256

// Classify returns the class of every query. Of equally similar neighbours the one earlier in the bank comes first,
// of equal votes the smaller class. Bank rows without a label do not take part.
func (k KNN) Classify(b kernels.Backend, bank Set, queries *tensor.Tensor) (_ []int32, err error) {
	defer tensor.CatchOutOfMemory(&err)
	bank = bank.labelled()
	n, d := bank.X.Dim(0), bank.X.Dim(1)
	switch {
	case k.K < 1:
		return nil, fmt.Errorf("kNN: k is %d; it must be at least 1", k.K)
	case !(k.Temperature > 0):
		return nil, fmt.Errorf("kNN: the temperature is %v; it must be positive", k.Temperature)
	case n < k.K:
		return nil, fmt.Errorf("kNN: the bank has %d labelled images, fewer than k = %d", n, k.K)
	case queries.Dim(1) != d:
		return nil, fmt.Errorf("kNN: queries have %d features, the bank %d", queries.Dim(1), d)
	}
	arena := tensor.NewArena(b.Allocator())
	defer arena.Release()
	classes := bank.classes()
	keys := unitRows(b, arena, bank.X)
	out := make([]int32, queries.Dim(0))
	host := tensor.Zeros(tensor.F32, queryRows, n)
	top := newNearest(k.K)
	votes := make([]float64, classes)
	for lo := 0; lo < len(out); lo += queryRows {
		hi := min(lo+queryRows, len(out))
		q := unitRows(b, arena, queries.Rows(lo, hi))
		s := arena.New(tensor.F32, hi-lo, n)
		b.Gemm(kernels.Gemm{M: hi - lo, N: n, K: d, Out: s, A: q, B: keys, TransB: true})
		rows := host.Rows(0, hi-lo)
		b.Download(rows, s)
		arena.Free(s)
		arena.Free(q)
		for i := range hi - lo {
			clear(votes)
			top.fill(rows.Rows(i, i+1).F32())
			for j, at := range top.index {
				votes[bank.Labels[at]] += math.Exp(float64(top.value[j]) / k.Temperature)
			}
			out[lo+i] = argmax(votes)
		}
	}
	return out, b.Sync()
}

// Accuracy returns the share, from 0 to 1, of the labelled queries whose class Classify finds.
func (k KNN) Accuracy(b kernels.Backend, bank, queries Set) (float64, error) {
	queries = queries.labelled()
	if len(queries.Labels) == 0 {
		return 0, fmt.Errorf("kNN: no query has a label")
	}
	got, err := k.Classify(b, bank, queries.X)
	if err != nil {
		return 0, err
	}
	return share(got, queries.Labels), nil
}

func share(got, want []int32) float64 {
	right := 0
	for i, c := range got {
		if c == want[i] {
			right++
		}
	}
	return float64(right) / float64(len(want))
}

// unitRows returns x [N, D] on the device with rows of L2 norm 1.
func unitRows(b kernels.Backend, a *tensor.Arena, x *tensor.Tensor) *tensor.Tensor {
	in := kernels.FromHostIn(a, b, x)
	out, norm := a.New(tensor.F32, x.Shape()...), a.New(tensor.F32, x.Dim(0))
	b.L2Normalize(out, norm, in, 1e-12)
	a.Free(norm)
	a.Free(in)
	return out
}

// labelled returns the rows that have a label.
func (s Set) labelled() Set {
	n := 0
	for _, c := range s.Labels {
		if c >= 0 {
			n++
		}
	}
	if n == len(s.Labels) {
		return s
	}
	out := newSet(n, s.X.Dim(1))
	n = 0
	for i, c := range s.Labels {
		if c >= 0 {
			copy(out.X.Rows(n, n+1).F32(), s.X.Rows(i, i+1).F32())
			out.Labels[n] = c
			n++
		}
	}
	return out
}

// classes returns the number of classes, which is one more than the largest label.
func (s Set) classes() int {
	most := int32(-1)
	for _, c := range s.Labels {
		most = max(most, c)
	}
	return int(most) + 1
}

// argmax returns the smallest index of the largest value.
func argmax(v []float64) int32 {
	best := 0
	for i, x := range v {
		if x > v[best] {
			best = i
		}
	}
	return int32(best)
}

// nearest keeps the k largest values of a row, in descending order.
type nearest struct {
	value []float32
	index []int32
	k     int
}

func newNearest(k int) *nearest {
	return &nearest{value: make([]float32, 0, k), index: make([]int32, 0, k), k: k}
}

// fill finds the k largest of row; of equal values the earlier one wins.
func (t *nearest) fill(row []float32) {
	t.value, t.index = t.value[:0], t.index[:0]
	for i, v := range row {
		if len(t.value) == t.k {
			if !(v > t.value[t.k-1]) {
				continue
			}
			t.value, t.index = t.value[:t.k-1], t.index[:t.k-1]
		}
		at := len(t.value)
		t.value, t.index = append(t.value, v), append(t.index, int32(i))
		for ; at > 0 && t.value[at-1] < v; at-- {
			t.value[at], t.index[at] = t.value[at-1], t.index[at-1]
		}
		t.value[at], t.index[at] = v, int32(i)
	}
}
