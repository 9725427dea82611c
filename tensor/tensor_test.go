package tensor

import (
	"math"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
)

func TestViewsShareElements(t *testing.T) {
	x := FromF32([]float32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, 4, 3)
	middle := x.Rows(1, 3)
	flat := middle.Reshape(6)
	flat.F32()[4] = 70
	if d := cmp.Diff([]float32{3, 4, 5, 6, 70, 8}, middle.F32()); d != "" {
		t.Errorf("rows 1:3 (-want +got):\n%s", d)
	}
	if x.F32()[7] != 70 {
		t.Error("a view's element is not the tensor's")
	}
	if !middle.Shape().Equal(Shape{2, 3}) || !flat.Shape().Equal(Shape{6}) || !x.Shape().Equal(Shape{4, 3}) {
		t.Errorf("shapes %s, %s, %s", middle.Shape(), flat.Shape(), x.Shape())
	}
	if middle.Dim(-1) != 3 || middle.Dim(0) != 2 || middle.NumBytes() != 24 {
		t.Errorf("dims %d, %d, bytes %d", middle.Dim(-1), middle.Dim(0), middle.NumBytes())
	}
	inner := middle.Rows(1, 2)
	if d := cmp.Diff([]float32{6, 70, 8}, inner.F32()); d != "" {
		t.Errorf("rows of rows (-want +got):\n%s", d)
	}
	if empty := x.Rows(2, 2); empty.Len() != 0 || empty.F32() != nil {
		t.Errorf("an empty view has %d elements", empty.Len())
	}
	cube := Zeros(BF16, 2, 3, 4)
	cube.Rows(1, 2).Set(0, 5)
	if cube.At(12) != 5 {
		t.Error("rows of a cube do not start after 12 elements")
	}
}

func TestAtAndSetOfEveryType(t *testing.T) {
	for _, d := range []DType{F32, F64, BF16, I32} {
		x := Zeros(d, 3)
		x.Set(1, -7)
		if x.At(0) != 0 || x.At(1) != -7 || x.At(2) != 0 {
			t.Errorf("%s: %v %v %v", d, x.At(0), x.At(1), x.At(2))
		}
	}
	u16, u8 := Zeros(U16, 2), Zeros(U8, 2)
	u16.U16()[1], u8.Bytes()[1] = 65535, 255
	if u16.At(1) != 65535 || u8.At(1) != 255 {
		t.Errorf("unsigned types read as %v and %v", u16.At(1), u8.At(1))
	}
}

// panics returns the message that f panics with.
func panics(f func()) (message string) {
	defer func() { message, _ = recover().(string) }()
	f()
	return ""
}

func TestProgrammerMistakesPanicWithShapes(t *testing.T) {
	x := Zeros(F32, 4, 3)
	tests := []struct {
		name string
		call func()
		want []string
	}{
		{"reshape", func() { x.Reshape(5, 2) }, []string{"[4 3]", "[5 2]"}},
		{"rows past the end", func() { x.Rows(2, 5) }, []string{"2:5", "[4 3]"}},
		{"rows backwards", func() { x.Rows(3, 2) }, []string{"3:2"}},
		{"rows of a scalar", func() { Zeros(F32).Rows(0, 1) }, []string{"[]"}},
		{"other type", func() { x.F64() }, []string{"f32[4 3]", "f64"}},
		{"past the buffer", func() { Over(&Buffer{Size: 8}, 4, F32, 2) }, []string{"f32[2]", "byte 4", "8 bytes"}},
		{"before the buffer", func() { Over(&Buffer{Size: 8}, -4, F32, 1) }, []string{"byte -4"}},
		{"wrong data", func() { FromF32(make([]float32, 5), 2, 3) }, []string{"5 elements", "[2 3]"}},
		{"device memory", func() { Over(&Buffer{Device: Device{Kind: CUDA, Index: 1}, Size: 8}, 0, F32, 2).F32() }, []string{"cuda:1", "download"}},
		{"set of bytes", func() { Zeros(U8, 1).Set(0, 1) }, []string{"u8"}},
	}
	for _, tt := range tests {
		message := panics(tt.call)
		for _, want := range tt.want {
			if !strings.Contains(message, want) {
				t.Errorf("%s: panic %q lacks %q", tt.name, message, want)
			}
		}
	}
}

func TestDeviceAddresses(t *testing.T) {
	buf := &Buffer{Device: Device{Kind: EmulatedCUDA}, Addr: 0x1000, Size: 64}
	x := Over(buf, 16, F32, 3, 4)
	if x.Addr() != 0x1010 || x.Rows(1, 3).Addr() != 0x1020 {
		t.Errorf("addresses %#x and %#x", x.Addr(), x.Rows(1, 3).Addr())
	}
	if got := Zeros(F32, 1).Addr(); got != 0 {
		t.Errorf("a host tensor has device address %#x", got)
	}
	if got, want := x.String(), "f32[3 4]@emulated-cuda:0"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
}

func TestHostMemoryIsAligned(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 4097, 5 << 20} {
		b, err := Host.Alloc(n)
		if err != nil {
			t.Fatal(err)
		}
		if p := uintptr(unsafe.Pointer(unsafe.SliceData(b.Host))); n > 0 && p%64 != 0 {
			t.Errorf("%d bytes start at %#x", n, p)
		}
		if len(b.Host) != n || b.Size != n {
			t.Errorf("%d bytes asked, %d given, size %d", n, len(b.Host), b.Size)
		}
		Host.Free(b)
	}
	if _, err := Host.Alloc(-1); err == nil {
		t.Error("negative size without an error")
	}
}

func TestZerosIsZero(t *testing.T) {
	dirty, err := New(Host, F32, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for i := range dirty.F32() {
		dirty.F32()[i] = float32(math.NaN())
	}
	for i, v := range Zeros(F32, 1000).F32() {
		if v != 0 {
			t.Fatalf("element %d is %v", i, v)
		}
	}
}
