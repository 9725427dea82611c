package main

// The row routines are the epilogue's arithmetic on one stretch of a row. Each handles whole vectors in a loop
// and the rest under a mask.

// eachVector writes a loop over CX elements whose body is given once for whole vectors and once for the masked
// rest; R10 is the element's number.
func (w *writer) eachVector(body func(edge bool)) {
	w.op("XORQ R10, R10")
	w.op("SUBQ $%d, CX", w.lanes)
	w.op("JLT tail")
	w.line("loop:")
	body(false)
	w.op("ADDQ $%d, R10", w.lanes)
	w.op("SUBQ $%d, CX", w.lanes)
	w.op("JGE loop")
	w.line("tail:")
	w.op("ADDQ $%d, CX", w.lanes)
	w.op("JZ done")
	w.mask()
	body(true)
	w.line("done:")
	w.ret()
}

// get loads the vector of a row, put stores it.
func (w *writer) get(base, r string, edge bool) {
	switch {
	case !edge:
		w.op("VMOVUPS (%s)(R10*4), %s", base, r)
	case w.lanes == 16:
		w.op("VMOVUPS.Z (%s)(R10*4), K1, %s", base, r)
	default:
		w.op("VMASKMOVPS (%s)(R10*4), Y1, %s", base, r)
	}
}

func (w *writer) put(r, base string, edge bool) {
	switch {
	case !edge:
		w.op("VMOVUPS %s, (%s)(R10*4)", r, base)
	case w.lanes == 16:
		w.op("VMOVUPS %s, K1, (%s)(R10*4)", r, base)
	default:
		w.op("VMASKMOVPS %s, Y1, (%s)(R10*4)", r, base)
	}
}

// finish writes dst = [dst +] [residual +] rowScale·[gamma·](x + [bias]).
func (w *writer) finish() {
	w.text("finish"+w.name, "0-57")
	w.op("MOVQ dst+0(FP), DI")
	w.op("MOVQ x+8(FP), SI")
	w.op("MOVQ bias+16(FP), AX")
	w.op("MOVQ residual+24(FP), BX")
	w.op("MOVQ gamma+32(FP), DX")
	w.op("VBROADCASTSS rowScale+40(FP), %s", w.r(3))
	w.op("MOVQ n+48(FP), CX")
	w.op("MOVBLZX accumulate+56(FP), R9")
	label := 0
	optional := func(test, reg string, edge bool, op string) {
		label++
		name := "skip" + string(rune('a'+label-1))
		w.op("%s %s, %s", test, reg, reg)
		w.op("JZ %s", name)
		base := reg
		if reg == "R9" {
			base = "DI"
		}
		w.get(base, w.r(2), edge)
		w.op("%s %s, %s, %s", op, w.r(2), w.r(0), w.r(0))
		w.line(name + ":")
	}
	w.eachVector(func(edge bool) {
		w.get("SI", w.r(0), edge)
		optional("TESTQ", "AX", edge, "VADDPS")
		optional("TESTQ", "DX", edge, "VMULPS")
		w.op("VMULPS %s, %s, %s", w.r(3), w.r(0), w.r(0))
		optional("TESTQ", "BX", edge, "VADDPS")
		optional("TESTQ", "R9", edge, "VADDPS")
		w.put(w.r(0), "DI", edge)
	})
}
