package pth

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/tensor"
	"github.com/dino-mx/dmx/tensor/safetensors"
)

// What is written is read back, in order, with every type and shape.
func TestWriteRoundTrip(t *testing.T) {
	x := tensor.FromF32([]float32{1, 2, 3, 4, 5, 6}, 2, 3)
	half, err := safetensors.FromTensorAs("half", x, safetensors.F16)
	if err != nil {
		t.Fatal(err)
	}
	in := []safetensors.Tensor{
		safetensors.FromTensor("z.weight", x), half, safetensors.FromTensor("empty", tensor.Zeros(tensor.F32, 1, 0, 4)),
		safetensors.FromTensor("scalar", tensor.FromF32([]float32{7})), safetensors.FromTensor("count", tensor.FromI32([]int32{9}, 1)),
	}
	var b, again bytes.Buffer
	if err := Write(&b, in); err != nil {
		t.Fatal(err)
	}
	if err := Write(&again, in); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
		t.Errorf("the same tensors gave other bytes (%v)", err)
	}
	f, err := NewFile("x.pth", bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, i := range f.Tensors() {
		got = append(got, i.String())
	}
	if diff := cmp.Diff([]string{"z.weight F32[2 3]", "half F16[2 3]", "empty F32[1 0 4]", "scalar F32[]", "count I32[1]"}, got); diff != "" {
		t.Error(diff)
	}
	for name, want := range map[string]float64{"z.weight": 6, "half": 6, "scalar": 7, "count": 9} {
		v, err := safetensors.ReadTensor(f, name)
		if err != nil || v.At(v.Len()-1) != want {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
	if err := Write(&b, append(in, in[0])); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a duplicate name: %v", err)
	}
}
