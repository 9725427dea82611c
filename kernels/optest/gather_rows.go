package optest

import (
	"fmt"
	"math"
	"slices"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

func gatherRows() []*spec {
	var list []*spec
	for _, c := range []struct{ n, channels, height, width, p int }{
		{1, 1, 1, 1, 1}, {2, 3, 16, 16, 16}, {2, 3, 32, 48, 16}, {1, 4, 17, 31, 7}, {3, 1, 28, 14, 14}, {1, 3, 45, 30, 14},
		{2, 2, 33, 65, 8}, {1, 1, 5, 9, 6}, {2, 3, 96, 96, 16}, {1, 13, 24, 24, 8},
	} {
		list = append(list, patchify(c.n, c.channels, c.height, c.width, c.p, tensor.F32))
	}
	same := patchify(2, 3, 32, 48, 16, tensor.BF16)
	same.name = "same type/" + same.name
	big := patchify(8, 3, 224, 224, 16, tensor.F32)
	medium := patchify(2, 3, 224, 224, 16, tensor.F32)
	list = append(append(list, same), sized([]*spec{big}, []*spec{medium})...)

	shapes := matrices()
	bench := shape2{1576, 384}
	list = append(list, rowsOf("GatherRows", 1, shapes, gather(false, false))...)
	list = append(list, named("accumulate", rowsOf("GatherRows", 1, shapes[:20], gather(true, false)))...)
	list = append(list, named("f32 table", rowsOf("GatherRows", 1, shapes[:16], gather(false, true)))...)
	list = append(list, benchOf("GatherRows", 0, bench, gather(false, false))...)

	list = append(list, gradients(rowsOf("ScatterRows", 1, shapes, scatter(false, false)))...)
	list = append(list, gradients(named("accumulate", rowsOf("ScatterRows", 1, shapes[:20], scatter(true, false))))...)
	list = append(list, gradients(named("wide", rowsOf("ScatterRows", 1, shapes[:16], scatter(true, true))))...)
	return append(list, benchOf("ScatterRows", 1, bench, scatter(true, true))...)
}

// patchify has no bound: every pixel is the image's, rounded to the working type.
func patchify(n, channels, height, width, p int, imageType tensor.DType) *spec {
	name := fmt.Sprintf("%dx%dx%dx%d/p%d", n, channels, height, width, p)
	return &spec{op: "Patchify", name: name, work: int64(n * channels * height * width), build: func(r *row) {
		dtype := imageType
		if dtype == tensor.BF16 || r.dtype == tensor.F64 {
			dtype = r.dtype
		}
		images := r.inAs("images", dtype, normal(2), n, channels, height, width)
		rows := r.out("out", n*(height/p)*(width/p), channels*p*p)
		r.call = func(b kernels.Backend) { b.Patchify(rows.t, images.t, p) }
	}}
}

func gather(accumulate, f32Table bool) func(r *row, s shape2) {
	return func(r *row, s shape2) {
		const tableRows = 19
		dtype := r.dtype
		if f32Table {
			dtype = r.statType()
		}
		table := r.inAs("table", dtype, wild(20), tableRows, s.cols)
		list := make([]int32, s.rows)
		for i := range list {
			list[i] = int32(r.rand.Intn(tableRows+2)) - 1
			if list[i] == tableRows {
				list[i] = -1
			}
		}
		index := r.index("index", list, s.rows)
		y := r.sum("out", r.dtype, accumulate, s.rows, s.cols)
		r.call = func(b kernels.Backend) { b.GatherRows(y.t, table.t, index.t, accumulate) }
		r.bound = func() {
			each(y, func(i int) float64 {
				from := int(list[i/s.cols])
				if !accumulate || from < 0 {
					return 0
				}
				return u * (math.Abs(table.val[from*s.cols+i%s.cols]) + before(y, i))
			})
		}
	}
}

// scatter spreads rows of dout over s.rows rows of the table, some of which get none and one of which gets many.
func scatter(accumulate, wide bool) func(r *row, s shape2) {
	return func(r *row, s shape2) {
		n := 2*s.rows + 5
		dout := r.in("dout", normal(1), n, s.cols)
		starts, rows := []int32{0}, []int32(nil)
		perm := r.rand.Perm(n)
		for t := range s.rows {
			take := r.rand.Intn(4)
			if t == s.rows/2 {
				take = n
			}
			first := len(rows)
			for range min(take, n-len(rows)) {
				rows = append(rows, int32(perm[len(rows)]))
			}
			slices.Sort(rows[first:])
			starts = append(starts, int32(len(rows)))
		}
		first, list := r.index("starts", starts, len(starts)), r.index("rows", rows, len(rows))
		dtype := r.dtype
		if wide {
			dtype = r.statType()
		}
		dtable := r.sum("dtable", dtype, accumulate, s.rows, s.cols)
		r.call = func(b kernels.Backend) { b.ScatterRows(dtable.t, dout.t, first.t, list.t, accumulate) }
		r.bound = func() {
			each(dtable, func(i int) float64 {
				t, c := i/s.cols, i%s.cols
				size := 0.0
				for _, from := range rows[starts[t]:starts[t+1]] {
					size += math.Abs(dout.val[int(from)*s.cols+c])
				}
				if size == 0 {
					return 0
				}
				return gamma(int(starts[t+1]-starts[t])+1) * (size + before(dtable, i))
			})
		}
	}
}
