//go:build !noasm

package gemm

import "unsafe"

//go:generate go run ./asmgen

var avx512 = kernel{
	mr: 14, lanes: 16, vecs: 2, tile: tilesAVX512, unroll: 4,
	transpose: transposeAVX512, gather: gatherAVX512,
	transposeBF16: transposeBF16AVX512, gatherBF16: gatherBF16AVX512,
	strips: stripsAVX512, stripsBF16: stripsBF16AVX512,
	panel: panelAVX512, panelBF16: panelBF16AVX512,
	finish: finishAVX512,
	peak:   peakAVX512, peakFlops: 2 * 2 * 28 * 16,
}

var avx2 = kernel{
	mr: 6, lanes: 8, vecs: 2, tile: tilesAVX2, unroll: 8,
	transpose: func(dst *float32, src unsafe.Pointer, ld, n, k, stride int) {
		transposeAVX2(dst, src, ld, n, k, stride)
		if full := k &^ 7; full < k {
			transposeGo[float32](at(dst, full*stride), unsafe.Add(src, 4*full), ld, n, k-full, stride)
		}
	},
	transposeBF16: func(dst *float32, src unsafe.Pointer, ld, n, k, stride int) {
		transposeBF16AVX2(dst, src, ld, n, k, stride)
		if full := k &^ 7; full < k {
			transposeGo[uint16](at(dst, full*stride), unsafe.Add(src, 2*full), ld, n, k-full, stride)
		}
	},
	gather: gatherAVX2,
	gatherBF16: func(dst *float32, src unsafe.Pointer, ld, n, k, stride int) {
		if n == 8 {
			gatherBF16AVX2(dst, src, ld, n, k, stride)
		} else {
			gatherGo[uint16](dst, src, ld, n, k, stride, 8)
		}
	},
	strips: stripsAVX2, stripsBF16: stripsBF16AVX2,
	panel: panelAVX2, panelBF16: panelBF16AVX2,
	finish: finishAVX2,
	peak:   peakAVX2, peakFlops: 2 * 2 * 12 * 8,
}

// families is indexed by vec.ISA: package vec detects the processor.
var families = [...]*kernel{&portable, &avx2, &avx512}
