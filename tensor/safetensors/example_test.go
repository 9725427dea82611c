package safetensors_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/dino-mx/dmx/tensor"
	"github.com/dino-mx/dmx/tensor/safetensors"
)

// Tensors are written in one type and read in another.
func Example() {
	dir, err := os.MkdirTemp("", "safetensors")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "model.safetensors")

	weight, err := safetensors.FromTensorAs("norm.weight", tensor.FromF32([]float32{1, 0.5, -2}, 3), safetensors.BF16)
	if err != nil {
		log.Fatal(err)
	}
	if err := safetensors.WriteFile(path, map[string]string{"format": "pt"}, []safetensors.Tensor{weight}); err != nil {
		log.Fatal(err)
	}

	f, err := safetensors.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	for _, t := range f.Tensors() {
		fmt.Println(t)
	}
	values := tensor.Zeros(tensor.F32, 3)
	if err := safetensors.Read(f, map[string]*tensor.Tensor{"norm.weight": values}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(values.F32())
	// Output:
	// norm.weight BF16[3]
	// [1 0.5 -2]
}
