package optest

import (
	"fmt"
	"math"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

func koleoRows() []*spec {
	var list []*spec
	for _, n := range append(edges, 300) {
		list = append(list, &spec{op: "NearestRows", name: fmt.Sprint(n), work: int64(n * n), build: nearest(n, false)})
	}
	list = append(list, &spec{op: "NearestRows", name: "ties", work: 70 * 70, build: nearest(70, true)})
	list = append(list, &spec{op: "NearestRows", name: "bench", work: 1024 * 1024, size: bench, build: nearest(1024, false)})
	for i, e := range edges {
		heights := []int{2, 5, 9, 17, 33}
		list = append(list, rowsOf("KoLeo", kernels.KoLeoFLOPs, []shape2{{heights[i%5], e + 1}, {max(e, 2), heights[(i+2)%5]}}, koleo)...)
	}
	list = append(list, rowsOf("KoLeo", kernels.KoLeoFLOPs, []shape2{{1, 33}, {3, 300}, {3, 1100}}, koleo)...)
	gradients(list[len(list)-2*len(edges)-3:])
	return append(list, benchOf("KoLeo", kernels.KoLeoFLOPs, shape2{256, 384}, koleo)...)
}

// nearest has no bound: an index is right or wrong. With ties the values are few, so that the smallest index among
// equals is asked for.
func nearest(n int, ties bool) func(r *row) {
	return func(r *row) {
		src := uniform(-1, 1)
		if ties {
			src = func(r *tensor.Rand) float64 { return float64(r.Intn(3)) - 1 }
		}
		dots := r.in("dots", src, n, n)
		for i := range n {
			dots.val[i*n+i] = 1.5 // a row is nearest to itself, which does not count
		}
		index := r.add("index", out, tensor.I32, func(*tensor.Rand) float64 { return 12345 }, []int{n})
		r.call = func(b kernels.Backend) { b.NearestRows(index.t, dots.t) }
	}
}

// Unit rows, of which rows 0 and 1 are duplicates where there are more than four. Some rows are the neighbour of
// several others; a row alone has none.
func koleo(r *row, s shape2) {
	const eps, minDist, weight = 1e-8, 1e-4, 0.1
	x := r.in("x", normal(1), s.rows, s.cols)
	for n := range s.rows {
		size := 0.0
		row := x.val[n*s.cols : (n+1)*s.cols]
		for _, v := range row {
			size += v * v
		}
		for c := range row {
			row[c] = round(x.dtype, row[c]/math.Sqrt(size))
		}
	}
	list := make([]int32, s.rows)
	for i := range list {
		if s.rows == 1 {
			list[i] = -1 // no neighbour
			continue
		}
		list[i] = int32((i + 1 + r.rand.Intn(s.rows-1)) % s.rows)
		if i%3 == 2 {
			list[i] = 0
		}
	}
	if s.rows > 4 {
		copy(x.val[s.cols:2*s.cols], x.val[:s.cols])
		list[0], list[1] = 1, 0
	}
	index := r.index("index", list, s.rows)
	loss, dx := r.outStat("loss", s.rows), r.out("dx", s.rows, s.cols)
	r.call = func(b kernels.Backend) { b.KoLeo(loss.t, dx.t, x.t, index.t, eps, minDist, weight) }
	r.bound = func() {
		terms := make([]int, s.rows)
		for i, j := range list {
			if j >= 0 {
				terms[i]++
				terms[j]++
			}
		}
		for i, j := range list {
			if j < 0 {
				continue
			}
			dist := 0.0
			diff := make([]float64, s.cols)
			for c := range diff {
				diff[c] = x.val[i*s.cols+c] - x.val[int(j)*s.cols+c] + eps
				dist += diff[c] * diff[c]
			}
			dist = math.Sqrt(dist)
			if dist < minDist {
				continue
			}
			rel := gamma(s.cols)/2 + 6*u
			loss.err[i] = weight * (rel + 3*u*(math.Abs(math.Log(dist))+1))
			for c, d := range diff {
				g := weight * math.Abs(d) / (dist * dist)
				e := g * (2*rel + 6*u + gamma(terms[i]+terms[j]))
				dx.err[i*s.cols+c] += e
				dx.err[int(j)*s.cols+c] += e
			}
		}
	}
}
