// Package gemm multiplies matrices on the CPU: kernels.Gemm with its transposes, column offsets and epilogues,
// in f32 and bf16 storage, and beneath it the packed multiplication of small blocks that attention is made of.
//
// The scheme is the one of Goto and van de Geijn ("Anatomy of high-performance matrix multiplication", ACM TOMS
// 2008): both operands are copied into panels in the order in which the micro-kernel reads them, and the
// micro-kernel keeps a tile of the product in registers while it walks along K. Micro-kernels exist for AVX-512,
// for AVX2 with FMA and in portable Go; which one runs is decided once, by cpuid.
//
// Every element of the product is one chain of fused multiply-adds in ascending k, cut at places that depend on
// the shape alone. So the result has the same bits for any number of threads, and for both vector widths.
//
// It must not know what an attention head or a layer is.
package gemm
