// Command products lists the matrix products of DINOv2 steps as measured on a GPU beside what the model of
// kernels/cuda expects of them, and the plans that the model chooses. It needs no GPU.
//
//	go run -tags cpu ./bench/products > bench/products.md
package main
