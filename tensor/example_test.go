package tensor_test

import (
	"fmt"

	"github.com/dino-mx/dmx/tensor"
)

// A view shares the elements of the tensor it is a part of.
func ExampleTensor_Rows() {
	t := tensor.FromF32([]float32{1, 2, 3, 4, 5, 6}, 3, 2)
	last := t.Rows(1, 3).Reshape(4)
	last.F32()[0] = 30
	fmt.Println(t, t.F32())
	fmt.Println(last, last.F32())
	// Output:
	// f32[3 2]@cpu [1 2 30 4 5 6]
	// f32[4]@cpu [30 4 5 6]
}

// The memory of a step's activations is used again after Reset. An arena that has seen its largest step allocates
// nothing more.
func ExampleArena() {
	arena := tensor.NewArena(tensor.Host)
	defer arena.Release()
	for range 3 {
		a := arena.New(tensor.F32, 64, 32)
		b := arena.New(tensor.BF16, 64, 32)
		fmt.Println(a.NumBytes()+b.NumBytes(), "bytes")
		arena.Reset()
	}
	// Output:
	// 12288 bytes
	// 12288 bytes
	// 12288 bytes
}

// Random numbers are a function of a seed and three numbers, such as the epoch, the image and the view: nothing
// depends on the order in which they are drawn.
func ExampleNewRand() {
	draw := func(image uint32) uint64 { return tensor.NewRand(42, 0, image, 1).Uint64() }
	first, second := draw(7), draw(8)
	fmt.Println(first == draw(7), second == draw(8), first == second)
	// Output: true true false
}

// A shape mistake names both shapes.
func ExampleFromF32() {
	defer func() { fmt.Println(recover()) }()
	tensor.FromF32(make([]float32, 5), 2, 3)
	// Output: tensor: 5 elements do not make shape [2 3]
}
