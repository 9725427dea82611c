package kernels

import (
	"fmt"

	"github.com/dino-mx/dmx/tensor"
)

// CheckPatchify checks Patchify: images f32 (or out's type) [B,C,H,W], out [B·(H/p)·(W/p), C·p·p].
func CheckPatchify(out, images *tensor.Tensor, p int) {
	const op = "Patchify"
	mustWork(op, "out", out)
	mustParamType(op, "images", images, "out", out)
	s := images.Shape()
	if len(s) != 4 || p <= 0 {
		panic(fmt.Sprintf("kernels: Patchify: images %s are not [B C H W], or the patch size %d is not positive, for out %s", describe(images), p, describe(out)))
	}
	mustMatrix(op, "out", out, s[0]*(s[2]/p)*(s[3]/p), s[1]*p*p, "images", images)
}

// CheckGatherRows checks GatherRows: index i32 [R], out [R,D], table [any,D] of out's type or f32.
func CheckGatherRows(out, table, index *tensor.Tensor) {
	const op = "GatherRows"
	mustWork(op, "out", out)
	rows, cols := Matrix(out)
	mustIndex(op, "index", index, rows, "out", out)
	mustParamType(op, "table", table, "out", out)
	r, _ := Matrix(table)
	mustMatrix(op, "table", table, r, cols, "out", out)
}

// CheckScatterRows checks ScatterRows: starts i32 [R+1] for dtable [R,D], rows i32, dout [any,D]; dtable has dout's
// type or f32.
func CheckScatterRows(dtable, dout, starts, rows *tensor.Tensor) {
	const op = "ScatterRows"
	mustWork(op, "dout", dout)
	mustParamType(op, "dtable", dtable, "dout", dout)
	r, cols := Matrix(dtable)
	n, _ := Matrix(dout)
	mustMatrix(op, "dout", dout, n, cols, "dtable", dtable)
	mustIndex(op, "starts", starts, r+1, "dtable", dtable)
	if rows == nil {
		isNil(op, "rows")
	}
	mustIndex(op, "rows", rows, rows.Len(), "dout", dout)
}
