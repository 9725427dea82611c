package main

import "fmt"

// The arguments of a packing routine, and what its registers hold:
// dst DI, src AX, ld R8 (bytes), n R9, k CX, stride DX (bytes).
func (w *writer) packArgs(elem int) {
	w.op("MOVQ dst+0(FP), DI")
	w.op("MOVQ src+8(FP), AX")
	w.op("MOVQ ld+16(FP), R8")
	w.op("MOVQ n+24(FP), R9")
	w.op("MOVQ k+32(FP), CX")
	w.op("MOVQ stride+40(FP), DX")
	w.op("SHLQ $2, DX")
	if elem == 4 {
		w.op("SHLQ $2, R8")
	} else {
		w.op("SHLQ $1, R8")
	}
}

// rowPointers stores the address of each of count rows at the stack pointer. Rows past n repeat the last one, so
// that the loads need no condition.
func (w *writer) rowPointers(count int) {
	w.op("MOVQ AX, 0(SP)")
	for i := 1; i < count; i++ {
		w.op("LEAQ (AX)(R8*1), R10")
		w.op("CMPQ R9, $%d", i)
		w.op("CMOVQGT R10, AX")
		w.op("MOVQ AX, %d(SP)", 8*i)
	}
}

func packAVX512(w *writer) {
	for _, elem := range []int{4, 2} {
		suffix := ""
		if elem == 2 {
			suffix = "BF16"
		}
		w.transpose16("transpose"+suffix+"AVX512", elem)
		w.gather16("gather"+suffix+"AVX512", elem)
		w.strips("strips"+suffix+"AVX512", elem)
		w.panel("panel"+suffix+"AVX512", elem)
	}
}

// load16 reads 16 elements at address, under mask K1 when masked.
func (w *writer) load16(address, reg string, elem int, masked bool) {
	m := ""
	z := ""
	if masked {
		m, z = "K1, ", ".Z"
	}
	if elem == 4 {
		w.op("VMOVUPS%s %s, %s%s", z, address, m, reg)
		return
	}
	w.op("VPMOVZXWD%s %s, %s%s", z, address, m, reg)
	w.op("VPSLLD $16, %s, %s", reg, reg)
}

// transpose16 turns 16 rows of 16 elements at a time into 16 vectors.
func (w *writer) transpose16(name string, elem int) {
	w.text(name, "128-48")
	w.packArgs(elem)
	w.rowPointers(16)
	w.op("XORQ BX, BX")
	w.op("SUBQ $16, CX")
	w.op("JLT tail")
	w.line("loop:")
	for i := range 16 {
		w.op("MOVQ %d(SP), AX", 8*i)
		w.load16("(AX)(BX*1)", w.r(i), elem, false)
	}
	w.network16()
	for i := range 16 {
		w.op("VMOVUPS %s, (DI)", w.r(i))
		w.op("ADDQ DX, DI")
	}
	w.op("ADDQ $%d, BX", 16*elem)
	w.op("SUBQ $16, CX")
	w.op("JGE loop")
	w.line("tail:")
	w.op("ADDQ $16, CX")
	w.op("JZ done")
	w.op("MOVL $1, R10")
	w.op("SHLL CX, R10")
	w.op("DECL R10")
	w.op("KMOVW R10, K1")
	for i := range 16 {
		w.op("MOVQ %d(SP), AX", 8*i)
		w.load16("(AX)(BX*1)", w.r(i), elem, true)
	}
	w.network16()
	for i := range 15 {
		w.op("VMOVUPS %s, (DI)", w.r(i))
		w.op("ADDQ DX, DI")
		w.op("DECQ CX")
		w.op("JZ done")
	}
	w.line("done:")
	w.ret()
}

// network16 transposes the 16×16 elements of registers 0 to 15 in place: pairs of elements, pairs of pairs, and
// then 128-bit lanes in two steps.
func (w *writer) network16() {
	for g := 0; g < 16; g += 4 {
		for h := 0; h < 4; h += 2 {
			w.op("VUNPCKLPS Z%d, Z%d, Z%d", g+h+1, g+h, 16+g+h)
			w.op("VUNPCKHPS Z%d, Z%d, Z%d", g+h+1, g+h, 16+g+h+1)
		}
	}
	for g := 0; g < 16; g += 4 {
		w.op("VUNPCKLPD Z%d, Z%d, Z%d", 16+g+2, 16+g, g)
		w.op("VUNPCKHPD Z%d, Z%d, Z%d", 16+g+2, 16+g, g+1)
		w.op("VUNPCKLPD Z%d, Z%d, Z%d", 16+g+3, 16+g+1, g+2)
		w.op("VUNPCKHPD Z%d, Z%d, Z%d", 16+g+3, 16+g+1, g+3)
	}
	for j := range 4 {
		for h := range 2 {
			w.op("VSHUFF32X4 $0x88, Z%d, Z%d, Z%d", 8*h+4+j, 8*h+j, 16+4*j+h)
			w.op("VSHUFF32X4 $0xdd, Z%d, Z%d, Z%d", 8*h+4+j, 8*h+j, 16+4*j+2+h)
		}
	}
	for j := range 4 {
		w.op("VSHUFF32X4 $0x88, Z%d, Z%d, Z%d", 16+4*j+1, 16+4*j, j)
		w.op("VSHUFF32X4 $0x88, Z%d, Z%d, Z%d", 16+4*j+3, 16+4*j+2, 4+j)
		w.op("VSHUFF32X4 $0xdd, Z%d, Z%d, Z%d", 16+4*j+1, 16+4*j, 8+j)
		w.op("VSHUFF32X4 $0xdd, Z%d, Z%d, Z%d", 16+4*j+3, 16+4*j+2, 12+j)
	}
}

// gather16 copies rows of up to 16 contiguous elements.
func (w *writer) gather16(name string, elem int) {
	w.text(name, "0-48")
	w.packArgs(elem)
	w.op("MOVL $1, R10")
	w.op("XCHGQ CX, R9")
	w.op("SHLL CX, R10")
	w.op("XCHGQ CX, R9")
	w.op("DECL R10")
	w.op("KMOVW R10, K1")
	w.op("MOVQ CX, R11")
	w.op("SHRQ $2, R11")
	w.op("JZ rest")
	w.op("MOVQ R8, R13")
	w.op("SHLQ $4, R13")
	w.line("loop:")
	w.op("LEAQ (AX)(R8*2), BX")
	w.op("LEAQ (DI)(DX*2), R12")
	for _, row := range []string{"AX", "BX"} { // the rows lie too far apart for the processor to foresee
		w.op("LEAQ (%s)(R13*1), R10", row)
		w.op("PREFETCHT0 (R10)")
		w.op("PREFETCHT0 (R10)(R8*1)")
	}
	w.load16("(AX)", "Z0", elem, true)
	w.load16("(AX)(R8*1)", "Z1", elem, true)
	w.load16("(BX)", "Z2", elem, true)
	w.load16("(BX)(R8*1)", "Z3", elem, true)
	w.op("VMOVUPS Z0, (DI)")
	w.op("VMOVUPS Z1, (DI)(DX*1)")
	w.op("VMOVUPS Z2, (R12)")
	w.op("VMOVUPS Z3, (R12)(DX*1)")
	w.op("LEAQ (BX)(R8*2), AX")
	w.op("LEAQ (R12)(DX*2), DI")
	w.op("DECQ R11")
	w.op("JNZ loop")
	w.line("rest:")
	w.op("ANDQ $3, CX")
	w.op("JZ done")
	w.line("one:")
	w.load16("(AX)", "Z0", elem, true)
	w.op("VMOVUPS Z0, (DI)")
	w.op("ADDQ R8, AX")
	w.op("ADDQ DX, DI")
	w.op("DECQ CX")
	w.op("JNZ one")
	w.line("done:")
	w.ret()
}

func packAVX2(w *writer) {
	for _, elem := range []int{4, 2} {
		suffix := ""
		if elem == 2 {
			suffix = "BF16"
		}
		w.transpose8("transpose"+suffix+"AVX2", elem)
		w.gather8("gather"+suffix+"AVX2", elem)
		w.strips("strips"+suffix+"AVX2", elem)
		w.panel("panel"+suffix+"AVX2", elem)
	}
}

func (w *writer) load8(address, reg string, elem int) {
	if elem == 4 {
		w.op("VMOVUPS %s, %s", address, reg)
		return
	}
	w.op("VPMOVZXWD %s, %s", address, reg)
	w.op("VPSLLD $16, %s, %s", reg, reg)
}

// transpose8 turns 8 rows of 8 elements at a time into 8 vectors. k is a multiple of 8.
func (w *writer) transpose8(name string, elem int) {
	w.text(name, "64-48")
	w.packArgs(elem)
	w.rowPointers(8)
	w.op("XORQ BX, BX")
	w.op("SHRQ $3, CX")
	w.op("JZ done")
	w.line("loop:")
	for i := range 8 {
		w.op("MOVQ %d(SP), AX", 8*i)
		w.load8("(AX)(BX*1)", w.r(i), elem)
	}
	for g := 0; g < 8; g += 4 {
		for h := 0; h < 4; h += 2 {
			w.op("VUNPCKLPS Y%d, Y%d, Y%d", g+h+1, g+h, 8+g+h)
			w.op("VUNPCKHPS Y%d, Y%d, Y%d", g+h+1, g+h, 8+g+h+1)
		}
	}
	for g := 0; g < 8; g += 4 {
		w.op("VUNPCKLPD Y%d, Y%d, Y%d", 8+g+2, 8+g, g)
		w.op("VUNPCKHPD Y%d, Y%d, Y%d", 8+g+2, 8+g, g+1)
		w.op("VUNPCKLPD Y%d, Y%d, Y%d", 8+g+3, 8+g+1, g+2)
		w.op("VUNPCKHPD Y%d, Y%d, Y%d", 8+g+3, 8+g+1, g+3)
	}
	for j := range 4 {
		w.op("VPERM2F128 $0x20, Y%d, Y%d, Y%d", 4+j, j, 8+j)
		w.op("VPERM2F128 $0x31, Y%d, Y%d, Y%d", 4+j, j, 12+j)
	}
	for i := range 8 {
		w.op("VMOVUPS Y%d, (DI)", 8+i)
		w.op("ADDQ DX, DI")
	}
	w.op("ADDQ $%d, BX", 8*elem)
	w.op("DECQ CX")
	w.op("JNZ loop")
	w.line("done:")
	w.ret()
}

// gather8 copies rows of 8 contiguous elements, or, in f32, of up to 8.
func (w *writer) gather8(name string, elem int) {
	w.text(name, "0-48")
	w.packArgs(elem)
	load := func(address, reg string) { w.load8(address, reg, elem) }
	w.op("TESTQ CX, CX")
	w.op("JZ done")
	if elem == 4 {
		w.op("CMPQ R9, $8")
		w.op("JEQ full")
		w.op("LEAQ lanes<>(SB), R10")
		w.op("NEGQ R9")
		w.op("VMOVUPS 32(R10)(R9*4), Y1")
		w.line("edge:")
		w.op("VMASKMOVPS (AX), Y1, Y0")
		w.op("VMOVUPS Y0, (DI)")
		w.op("ADDQ R8, AX")
		w.op("ADDQ DX, DI")
		w.op("DECQ CX")
		w.op("JNZ edge")
		w.op("JMP done")
		w.line("full:")
	}
	w.op("MOVQ CX, R11")
	w.op("SHRQ $2, R11")
	w.op("JZ rest")
	w.op("MOVQ R8, R13")
	w.op("SHLQ $4, R13")
	w.line("loop:")
	w.op("LEAQ (AX)(R8*2), BX")
	w.op("LEAQ (DI)(DX*2), R12")
	for _, row := range []string{"AX", "BX"} { // the rows lie too far apart for the processor to foresee
		w.op("LEAQ (%s)(R13*1), R10", row)
		w.op("PREFETCHT0 (R10)")
		w.op("PREFETCHT0 (R10)(R8*1)")
	}
	load("(AX)", "Y0")
	load("(AX)(R8*1)", "Y1")
	load("(BX)", "Y2")
	load("(BX)(R8*1)", "Y3")
	w.op("VMOVUPS Y0, (DI)")
	w.op("VMOVUPS Y1, (DI)(DX*1)")
	w.op("VMOVUPS Y2, (R12)")
	w.op("VMOVUPS Y3, (R12)(DX*1)")
	w.op("LEAQ (BX)(R8*2), AX")
	w.op("LEAQ (R12)(DX*2), DI")
	w.op("DECQ R11")
	w.op("JNZ loop")
	w.line("rest:")
	w.op("ANDQ $3, CX")
	w.op("JZ done")
	w.line("one:")
	load("(AX)", "Y0")
	w.op("VMOVUPS Y0, (DI)")
	w.op("ADDQ R8, AX")
	w.op("ADDQ DX, DI")
	w.op("DECQ CX")
	w.op("JNZ one")
	w.line("done:")
	w.ret()
}

// strips copies rows that run along several tiles side by side, four rows at a time, so that each line of memory is
// met once: of every row each tile takes n elements. Loads are whole vectors; what they bring past n the next row's
// store overwrites.
func (w *writer) strips(name string, elem int) {
	w.text(name, "0-64")
	w.op("MOVQ dst+0(FP), DI")
	w.op("MOVQ src+8(FP), AX")
	w.op("MOVQ ld+16(FP), R8")
	w.op("MOVQ n+24(FP), R9")
	w.op("MOVQ k+32(FP), CX")
	w.op("MOVQ slot+48(FP), DX")
	w.op("SHLQ $%d, R8", elem/2)
	w.op("SHLQ $2, DX")
	w.op("SHRQ $2, CX")
	w.op("JZ done")
	w.line("loop:")
	w.op("MOVQ tiles+40(FP), R11")
	w.op("MOVQ AX, BX")
	w.op("MOVQ DI, SI")
	w.line("across:")
	w.op("MOVQ far+56(FP), R10")
	w.op("ADDQ BX, R10") // the rows lie too far apart for the processor to foresee
	w.op("LEAQ (BX)(R8*2), R12")
	w.op("PREFETCHT0 (R10)")
	w.op("PREFETCHT0 (R10)(R8*1)")
	w.op("LEAQ (R10)(R8*2), R10")
	w.op("PREFETCHT0 (R10)")
	w.op("PREFETCHT0 (R10)(R8*1)")
	for i, address := range []string{"(BX)", "(BX)(R8*1)", "(R12)", "(R12)(R8*1)"} {
		if w.lanes == 16 {
			w.load16(address, w.r(i), elem, false)
		} else {
			w.load8(address, w.r(i), elem)
		}
	}
	w.op("LEAQ (SI)(R9*8), R13")
	for i, address := range []string{"(SI)", "(SI)(R9*4)", "(R13)", "(R13)(R9*4)"} {
		w.op("VMOVUPS %s, %s", w.r(i), address)
	}
	w.op("LEAQ (BX)(R9*%d), BX", elem)
	w.op("ADDQ DX, SI")
	w.op("DECQ R11")
	w.op("JNZ across")
	w.op("LEAQ (AX)(R8*4), AX")
	w.op("MOVQ R9, R10")
	w.op("SHLQ $4, R10")
	w.op("ADDQ R10, DI")
	w.op("DECQ CX")
	w.op("JNZ loop")
	w.line("done:")
	w.ret()
}

// panel copies rows of two whole vectors of contiguous elements, one behind the other.
func (w *writer) panel(name string, elem int) {
	w.text(name, "0-32")
	w.op("MOVQ dst+0(FP), DI")
	w.op("MOVQ src+8(FP), AX")
	w.op("MOVQ ld+16(FP), R8")
	w.op("MOVQ k+24(FP), CX")
	w.op("SHLQ $%d, R8", elem/2)
	w.op("MOVQ R8, R13")
	w.op("SHLQ $4, R13")
	w.op("TESTQ CX, CX")
	w.op("JZ done")
	w.line("loop:")
	w.op("LEAQ (AX)(R13*1), R10")
	w.op("PREFETCHT0 (R10)")
	if w.lanes*elem >= 64 {
		w.op("PREFETCHT0 %d(R10)", w.lanes*elem)
	}
	for v := range 2 {
		address := fmt.Sprintf("%d(AX)", v*w.lanes*elem)
		if w.lanes == 16 {
			w.load16(address, w.r(v), elem, false)
		} else {
			w.load8(address, w.r(v), elem)
		}
		w.op("VMOVUPS %s, %d(DI)", w.r(v), 4*v*w.lanes)
	}
	w.op("ADDQ R8, AX")
	w.op("ADDQ $%d, DI", 8*w.lanes)
	w.op("DECQ CX")
	w.op("JNZ loop")
	w.line("done:")
	w.ret()
}
