// Command products lists the matrix products of DINOv2 steps as measured on a GPU beside what the model of
// kernels/cuda expects of them, the plans that the model chooses, what it expects of the newest version, and what
// finishing a tile takes by the counters of the interpreter. It needs no GPU.
//
//	go run -tags cpu ./bench/products > bench/products.md
package main
