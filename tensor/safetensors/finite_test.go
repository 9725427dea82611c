package safetensors

import (
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dino-mx/dmx/tensor"
)

// Every place of a NaN or an infinity in every float type is found, and nothing else is taken for one.
func TestFirstNonFinite(t *testing.T) {
	for d, bits := range map[DType][]uint64{ // ordinary patterns first, then those that are not finite
		F16: {0, 0x8000, 0x7bff, 0xfbff, 1, 0x3c00}, BF16: {0, 0x8000, 0x7f7f, 0xff7f, 1, 0x3f80},
		F32: {0, 0x80000000, 0x7f7fffff, 0xff7fffff, 1, 0x3f800000},
		F64: {0, 0x8000000000000000, 0x7fefffffffffffff, 0xffefffffffffffff, 1, 0x3ff0000000000000},
	} {
		mask, size := exponentMask(d), d.Bits()/8
		put := func(raw []byte, i int, v uint64) {
			for k := range size {
				raw[i*size+k] = byte(v >> (8 * k))
			}
		}
		for n := range 41 {
			raw := make([]byte, n*size)
			for i := range n {
				put(raw, i, bits[i%len(bits)])
			}
			if got := firstNonFinite(raw, d); got != -1 {
				t.Errorf("%s: element %d of %d ordinary numbers", d, got, n)
			}
			for at := range n {
				for _, bad := range []uint64{mask, mask | 1, mask | 1<<(d.Bits()-1)} {
					was := append([]byte(nil), raw...)
					put(raw, at, bad)
					if got := firstNonFinite(raw, d); got != at {
						t.Errorf("%s: %#x at %d of %d was found at %d", d, bad, at, n, got)
					}
					copy(raw, was)
				}
			}
		}
	}
	if firstNonFinite([]byte{0xff, 0xff, 0xff, 0xff}, I32) != -1 {
		t.Error("an integer is not finite")
	}
}

func TestReadFinite(t *testing.T) {
	const n = 3 << 20 // several chunks
	big, small := tensor.Zeros(tensor.F32, n), tensor.Zeros(tensor.F64, 3)
	write := func() *File {
		path := filepath.Join(t.TempDir(), "x.safetensors")
		if err := WriteFile(path, nil, []Tensor{FromTensor("big", big), FromTensor("small", small)}); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	read := func(f *File, to tensor.DType) error {
		return ReadFinite(f, map[string]*tensor.Tensor{"big": tensor.Zeros(to, n), "small": tensor.Zeros(to, 3)})
	}
	check := func(what string, err error, name string, index int) {
		t.Helper()
		var e *NonFiniteError
		if !errors.As(err, &e) || e.Info.Name != name || e.Index != index || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want element %d of %s", what, err, index, name)
		}
	}
	f := write()
	for _, to := range []tensor.DType{tensor.F32, tensor.BF16} {
		if err := read(f, to); err != nil {
			t.Error(err)
		}
	}
	if err := CheckFinite(f); err != nil {
		t.Error(err)
	}
	big.F32()[n-5] = float32(math.Inf(-1))
	f = write()
	for _, to := range []tensor.DType{tensor.F32, tensor.BF16} {
		check("a copy or a conversion", read(f, to), "big", n-5)
	}
	check("CheckFinite", CheckFinite(f), "big", n-5)
	if err := Read(f, map[string]*tensor.Tensor{"big": tensor.Zeros(tensor.F32, n)}); err != nil {
		t.Errorf("Read: %v", err)
	}
	big.F32()[n-5] = 0
	small.F64()[1] = 1e300 // finite where it is stored, not in float32
	f = write()
	check("a number too large for float32", read(f, tensor.F32), "small", 1)
	if err := CheckFinite(f); err != nil {
		t.Errorf("CheckFinite: %v", err)
	}
}

func BenchmarkCheckFinite(b *testing.B) {
	raw := make([]byte, 2<<20)
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if firstNonFinite(raw, F32) != -1 {
			b.Fatal("found")
		}
	}
}

func BenchmarkReadFinite(b *testing.B) {
	const n = 16 << 20
	path := filepath.Join(b.TempDir(), "x.safetensors")
	x, err := FromTensorAs("x", tensor.Zeros(tensor.F32, n), BF16)
	if err != nil {
		b.Fatal(err)
	}
	if err := WriteFile(path, nil, []Tensor{FromTensor("f32", tensor.Zeros(tensor.F32, n)), x}); err != nil {
		b.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	dst := tensor.Zeros(tensor.F32, n)
	for _, name := range []string{"f32", "x"} {
		for side, read := range map[string]func(Source, map[string]*tensor.Tensor) error{"Read": Read, "ReadFinite": ReadFinite} {
			b.Run(name+" "+side, func(b *testing.B) {
				b.SetBytes(4 * n)
				for b.Loop() {
					if err := read(f, map[string]*tensor.Tensor{name: dst}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
