package main

import (
	"fmt"
	"math/bits"
)

// tile writes the micro-kernel of rows × vecs vectors, which walks down tiles of that height. Register use: two vectors
// of the B panel, two broadcast elements of the A tile in turn, the rest accumulators. With 14 or 6 rows and two vectors
// every register of the machine is in use, which is what sets those heights.
func (w *writer) tile(rows, vecs int) {
	w.text(fmt.Sprintf("tile%s_%dx%d", w.name, rows, vecs), "0-80")
	name := fmt.Sprintf("t%d_%d", rows, vecs)
	w.op("MOVQ c+0(FP), DI")
	w.op("MOVQ ldc+24(FP), DX")
	w.op("SHLQ $2, DX")
	acc := func(i, j int) string { return w.r(4 + i*vecs + j) }
	step := 4 * w.lanes * vecs // bytes of B a k step reads

	w.line(name + "_tile:")
	w.op("MOVQ a+8(FP), SI")
	w.op("MOVQ b+16(FP), BX")
	w.op("MOVQ k+32(FP), CX")
	w.nextShare(name)

	// The tile of c is fetched while the products are computed; its rows lie far apart.
	w.op("CMPL mode+52(FP), $2")
	w.op("JEQ %s_zero", name)
	w.op("MOVQ DI, R8")
	for i := range rows {
		for x := 0; x < step; x += 64 {
			w.op("PREFETCHT0 %d(R8)", x)
		}
		if i+1 < rows {
			w.op("ADDQ DX, R8")
		}
	}
	w.line(name + "_zero:")
	for i := range rows {
		for j := range vecs {
			w.zero(acc(i, j))
		}
	}
	w.op("MOVQ CX, R9")
	w.op("SHRQ $%d, R9", bits.TrailingZeros(uint(w.unroll)))
	w.op("JZ %s_rest", name)
	w.op("TESTQ R13, R13")
	w.op("JZ %s_plain", name)
	w.line(name + "_main:")
	w.kSteps(rows, vecs, acc)
	// What comes next is fetched into the L2 cache on the way, two lines at a time, and after so many the next row.
	for i := range 2 {
		w.op("PREFETCHT1 (R10)")
		w.op("PREFETCHT1 64(R10)")
		w.op("ADDQ $128, R10")
		w.op("DECQ R13")
		w.op("JNZ %s_same%d", name, i)
		w.op("ADDQ R12, R10")
		w.op("MOVQ R11, R13")
		w.line(fmt.Sprintf("%s_same%d:", name, i))
	}
	w.op("DECQ R9")
	w.op("JNZ %s_main", name)
	w.op("JMP %s_rest", name)
	w.line(name + "_plain:")
	w.kSteps(rows, vecs, acc)
	w.op("DECQ R9")
	w.op("JNZ %s_plain", name)
	w.line(name + "_rest:")
	w.op("ANDQ $%d, CX", w.unroll-1)
	w.op("JZ %s_store", name)
	w.line(name + "_one:")
	w.kStep(rows, vecs, 0, acc)
	w.op("ADDQ $%d, SI", 4*rows)
	w.op("ADDQ $%d, BX", step)
	w.op("DECQ CX")
	w.op("JNZ %s_one", name)

	w.line(name + "_store:")
	w.op("MOVQ last+40(FP), CX")
	w.op("MOVL mode+52(FP), AX")
	w.op("CMPL AX, $1")
	w.op("JEQ %s_add", name)
	w.op("CMPL alpha+48(FP), $0x3f800000") // 1, which changes nothing
	w.op("JEQ %s_scaled", name)
	w.op("VBROADCASTSS alpha+48(FP), %s", w.r(0))
	for i := range rows {
		for j := range vecs {
			w.op("VMULPS %s, %s, %s", w.r(0), acc(i, j), acc(i, j))
		}
	}
	w.line(name + "_scaled:")
	w.op("CMPQ CX, $%d", w.lanes)
	w.op("JNE %s_edge", name)
	w.op("CMPL AX, $2")
	w.op("JEQ %s_stream", name)
	w.rows(rows, func(i int) {
		for j := range vecs {
			w.op("VMOVUPS %s, %d(DI)", acc(i, j), 4*w.lanes*j)
		}
	})
	w.line(name + "_next:")
	w.op("MOVQ slot+72(FP), AX")
	w.op("ADDQ AX, a+8(FP)")
	w.op("DECQ tiles+64(FP)")
	w.op("JNZ %s_tile", name)
	w.ret()
	w.line(name + "_stream:")
	w.rows(rows, func(i int) {
		for j := range vecs {
			w.op("VMOVNTPS %s, %d(DI)", acc(i, j), 4*w.lanes*j)
		}
	})
	w.op("JMP %s_next", name)
	w.line(name + "_edge:")
	w.mask()
	w.rows(rows, func(i int) {
		for j := range vecs {
			w.store(acc(i, j), 4*w.lanes*j, j == vecs-1)
		}
	})
	w.op("JMP %s_next", name)

	w.line(name + "_add:")
	w.op("VBROADCASTSS alpha+48(FP), %s", w.r(0))
	w.op("CMPQ CX, $%d", w.lanes)
	w.op("JNE %s_edgeadd", name)
	w.rows(rows, func(i int) {
		for j := range vecs {
			w.op("VFMADD213PS %d(DI), %s, %s", 4*w.lanes*j, w.r(0), acc(i, j))
			w.op("VMOVUPS %s, %d(DI)", acc(i, j), 4*w.lanes*j)
		}
	})
	w.op("JMP %s_next", name)
	w.line(name + "_edgeadd:")
	w.mask()
	w.rows(rows, func(i int) {
		for j := range vecs {
			w.load(4*w.lanes*j, w.r(2), j == vecs-1)
			w.op("VFMADD213PS %s, %s, %s", w.r(2), w.r(0), acc(i, j))
			w.store(acc(i, j), 4*w.lanes*j, j == vecs-1)
		}
	})
	w.op("JMP %s_next", name)
}

// nextShare loads the tile's share of what is fetched ahead into R10 (address), R11 and R13 (chunk) and R12 (jump), and
// moves the cursor on; its layout is that of the Go struct ahead. R13 is 0 for a tile without a share.
func (w *writer) nextShare(name string) {
	w.op("MOVQ ahead+56(FP), AX")
	w.op("XORQ R13, R13")
	w.op("CMPQ 32(AX), $0")
	w.op("JLE %s_share", name)
	w.op("MOVQ 0(AX), R10")
	w.op("MOVQ 8(AX), R11")
	w.op("MOVQ 16(AX), R12")
	w.op("MOVQ 24(AX), R8")
	w.op("ADDQ R10, R8")
	w.op("MOVQ R8, 0(AX)")
	w.op("DECQ 32(AX)")
	w.op("MOVQ R11, R13")
	w.line(name + "_share:")
}

// kSteps multiplies the steps of an unrolled loop.
func (w *writer) kSteps(rows, vecs int, acc func(i, j int) string) {
	for u := range w.unroll {
		w.kStep(rows, vecs, u, acc)
	}
	w.op("ADDQ $%d, SI", 4*rows*w.unroll)
	w.op("ADDQ $%d, BX", 4*w.lanes*vecs*w.unroll)
}

// kStep multiplies step u of an unrolled loop into the accumulators.
func (w *writer) kStep(rows, vecs, u int, acc func(i, j int) string) {
	for j := range vecs {
		w.op("VMOVUPS %d(BX), %s", 4*w.lanes*(vecs*u+j), w.r(j))
	}
	for i := range rows {
		bc := w.r(2 + i%2)
		w.op("VBROADCASTSS %d(SI), %s", 4*(rows*u+i), bc)
		for j := range vecs {
			w.op("VFMADD231PS %s, %s, %s", w.r(j), bc, acc(i, j))
		}
	}
}

// rows writes code for every row of c at DI, and leaves DI at the row below.
func (w *writer) rows(n int, f func(i int)) {
	for i := range n {
		f(i)
		w.op("ADDQ DX, DI")
	}
}

func (w *writer) ret() {
	w.op("VZEROUPPER")
	w.op("RET")
}

func (w *writer) zero(r string) {
	if w.lanes == 16 {
		w.op("VPXORQ %s, %s, %s", r, r, r)
	} else {
		w.op("VXORPS %s, %s, %s", r, r, r)
	}
}

// mask makes the mask of the first CX lanes: K1, or Y1 from a table.
func (w *writer) mask() {
	if w.lanes == 16 {
		w.op("MOVL $1, R8")
		w.op("SHLL CX, R8")
		w.op("DECL R8")
		w.op("KMOVW R8, K1")
		return
	}
	w.op("LEAQ lanes<>(SB), R8")
	w.op("NEGQ CX")
	w.op("VMOVUPS 32(R8)(CX*4), Y1")
}

func (w *writer) maskTable() {
	w.line("")
	w.line("// Eight lanes of ones, then eight of zeros: 8-n lanes in is the mask of the first n.")
	for i := range 16 {
		v := 0
		if i < 8 {
			v = 0xffffffff
		}
		w.line(fmt.Sprintf("DATA lanes<>+%d(SB)/4, $%#x", 4*i, v))
	}
	w.line("GLOBL lanes<>(SB), RODATA|NOPTR, $64")
}

func (w *writer) store(r string, off int, edge bool) {
	switch {
	case !edge:
		w.op("VMOVUPS %s, %d(DI)", r, off)
	case w.lanes == 16:
		w.op("VMOVUPS %s, K1, %d(DI)", r, off)
	default:
		w.op("VMASKMOVPS %s, Y1, %d(DI)", r, off)
	}
}

func (w *writer) load(off int, r string, edge bool) {
	switch {
	case !edge:
		w.op("VMOVUPS %d(DI), %s", off, r)
	case w.lanes == 16:
		w.op("VMOVUPS.Z %d(DI), K1, %s", off, r)
	default:
		w.op("VMASKMOVPS %d(DI), Y1, %s", off, r)
	}
}

// peak writes the loop that measures the machine: independent chains of fused multiply-adds on registers alone.
func (w *writer) peak() {
	w.text("peak"+w.name, "0-8")
	w.op("MOVQ n+0(FP), CX")
	for i := range w.regs {
		w.zero(w.r(i))
	}
	w.line("loop:")
	for range 2 {
		for i := 4; i < w.regs; i++ {
			w.op("VFMADD231PS %s, %s, %s", w.r(0), w.r(1), w.r(i))
		}
	}
	w.op("DECQ CX")
	w.op("JNZ loop")
	w.ret()
}
