package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/tensor"
	"github.com/dino-mx/dmx/tensor/alloctest"
)

func file(header string, data []byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

func open(b []byte) (*File, error) {
	return NewFile("x.safetensors", bytes.NewReader(b), int64(len(b)))
}

func TestReaderRejects(t *testing.T) {
	four := make([]byte, 4)
	one := `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`
	tests := []struct {
		name string
		file []byte
		want string // a part of the message
	}{
		{"too short", []byte{1, 2, 3}, "too few"},
		{"header too large", binary.LittleEndian.AppendUint64(nil, MaxHeader+1), "larger than the limit"},
		{"header length overflows", binary.LittleEndian.AppendUint64(nil, math.MaxUint64), "larger than the limit"},
		{"header past the end", binary.LittleEndian.AppendUint64(nil, 100), "does not fit"},
		{"not UTF-8", file("{\"\xff\":1}", nil), "UTF-8"},
		{"not JSON", file("nonsense", nil), "header"},
		{"not an object", file("[]", nil), "expected {"},
		{"cut JSON", file(`{"a":`, nil), "ends in the middle"},
		{"second value", file(`{} {}`, nil), "more after"},
		{"unknown type", file(strings.Replace(one, "F32", "F33", 1), four), `dtype "F33" is unknown`},
		{"type is a number", file(strings.Replace(one, `"F32"`, "3", 1), four), "dtype"},
		{"negative dimension", file(strings.Replace(one, "[1]", "[-1]", 1), four), "not a whole number"},
		{"fractional dimension", file(strings.Replace(one, "[1]", "[1.0]", 1), four), "not a whole number"},
		{"exponent dimension", file(strings.Replace(one, "[1]", "[1e0]", 1), four), "not a whole number"},
		{"shape is a string", file(strings.Replace(one, "[1]", `"1"`, 1), four), "shape"},
		{"member missing", file(`{"a":{"dtype":"F32","shape":[1]}}`, four), `"data_offsets" is missing`},
		{"member twice", file(`{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, four), "occurs twice"},
		{"unknown member", file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}`, four), "unknown member"},
		{"name twice", file(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}`, make([]byte, 8)), "occurs twice"},
		{"metadata value", file(`{"__metadata__":{"a":1}}`, nil), "__metadata__"},
		{"metadata twice", file(`{"__metadata__":{},"__metadata__":{}}`, nil), "occurs twice"},
		{"metadata key twice", file(`{"__metadata__":{"k":"1","k":"2"}}`, nil), "occurs twice"},
		{"three offsets", file(strings.Replace(one, "[0,4]", "[0,4,5]", 1), four), "more than 2"},
		{"one offset", file(strings.Replace(one, "[0,4]", "[0]", 1), four), "expected 2"},
		{"first not at 0", file(strings.Replace(one, "[0,4]", "[1,5]", 1), make([]byte, 5)), "expected 0"},
		{"end before begin", file(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"c":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}}`, four), "before it begins"},
		{"hole", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}`, make([]byte, 3)), "gaps"},
		{"overlap", file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, make([]byte, 3)), "overlap"},
		{"alias", file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, make([]byte, 2)), "overlap"},
		{"size and shape differ", file(strings.Replace(one, "[1]", "[2]", 1), four), "needs 8 bytes"},
		{"product overflows", file(strings.Replace(one, "[1]", "[4611686018427387903,4611686018427387903]", 1), four), "too large"},
		{"huge claim", file(`{"a":{"dtype":"U8","shape":[4611686018427387904],"data_offsets":[0,4611686018427387903]}}`, four), "whole number"},
		{"claims more than the file", file(`{"a":{"dtype":"U8","shape":[4611686018427387],"data_offsets":[0,4611686018427387]}}`, four), "cut off"},
		{"half a byte", file(`{"a":{"dtype":"F4","shape":[1],"data_offsets":[0,1]}}`, four[:1]), "whole bytes"},
		{"trailing bytes", file(one, make([]byte, 5)), "trailing"},
		{"cut data", file(one, four[:3]), "cut off"},
		{"too many dimensions", file(strings.Replace(one, "[1]", "["+strings.Repeat("1,", 64)+"1]", 1), four), "more than 64"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := open(tt.file)
			if err == nil {
				t.Fatal("accepted")
			}
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "x.safetensors") {
				t.Errorf("message %q, want the file and %q", err, tt.want)
			}
		})
	}
}

func TestReaderAccepts(t *testing.T) {
	tests := []struct {
		name string
		file []byte
		want []string
	}{
		{"leading and trailing white space, any length", file(" \n\t{\"a\":{\"shape\":[],\"data_offsets\":[0,4],\"dtype\":\"F32\"}} ", make([]byte, 4)), []string{"a F32[]"}},
		{"empty tensors", file(`{"r":{"dtype":"F32","shape":[1,0,8],"data_offsets":[4,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"e":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}`, make([]byte, 4)),
			[]string{"e F32[0]", "a U8[4]", "r F32[1 0 8]"}},
		{"two to a byte", file(`{"a":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}}`, make([]byte, 2)), []string{"a F4[4]"}},
		{"nothing", file(`{}`, nil), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := open(tt.file)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, i := range f.Tensors() {
				got = append(got, i.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConvert(t *testing.T) {
	values := []float32{0, float32(math.Copysign(0, -1)), 1, -2.5, 65504, 1e-7, float32(math.Inf(1)), 3.14159265, -6.1e-5}
	for _, d := range []DType{F32, F16, BF16, F64} {
		src, err := FromTensorAs("x", tensor.FromF32(values, len(values)), d)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := Write(&b, nil, []Tensor{src}); err != nil {
			t.Fatal(err)
		}
		f, err := open(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range []tensor.DType{tensor.F32, tensor.BF16, tensor.F64} {
			dst := tensor.Zeros(to, len(values))
			if err := Read(f, map[string]*tensor.Tensor{"x": dst}); err != nil {
				t.Fatal(err)
			}
			for i, v := range values {
				want := float64(v)
				switch d {
				case F16:
					want = float64(FromF16(ToF16(v)))
				case BF16:
					want = float64(tensor.FromBF16(tensor.ToBF16(v)))
				}
				if to == tensor.BF16 {
					want = float64(tensor.FromBF16(tensor.ToBF16(float32(want))))
				}
				if got := dst.At(i); got != want || math.Signbit(got) != math.Signbit(want) {
					t.Errorf("%s to %s: %g became %g, want %g", d, to, v, got, want)
				}
			}
		}
	}
}

// Every half-precision number survives the way to float32 and back; halfway cases round to even.
func TestF16Exhaustive(t *testing.T) {
	for h := range 1 << 16 {
		f := FromF16(uint16(h))
		back := ToF16(f)
		if f != f {
			if h&0x7c00 != 0x7c00 || FromF16(back) == FromF16(back) {
				t.Fatalf("%#04x became NaN, or NaN was lost (%#04x)", h, back)
			}
			continue
		}
		if back != uint16(h) {
			t.Fatalf("%#04x -> %g -> %#04x", h, f, back)
		}
		if h&0x7fff >= 0x7bff {
			continue
		}
		mid := (float64(f) + float64(FromF16(uint16(h+1)))) / 2
		even := uint16(h + h&1)
		if got := ToF16(float32(mid)); got != even {
			t.Fatalf("%g between %#04x and the next rounds to %#04x, want the even %#04x", mid, h, got, even)
		}
	}
	if ToF16(65519.99) != 0x7bff || ToF16(65520) != 0x7c00 {
		t.Error("the overflow threshold is not 65520")
	}
}

func TestBF16FromF64RoundsOnce(t *testing.T) {
	// Just above halfway between two bfloat16 numbers, closer to halfway than float32 can tell.
	v := 1 + 1.0/256 + 1e-12
	if got := bf16FromF64(v); got != 0x3f81 {
		t.Errorf("%.15g became %#04x, want 0x3f81", v, got)
	}
	if got := bf16FromF64(-(1 + 1.0/256 - 1e-12)); got != 0xbf80 {
		t.Errorf("just below halfway became %#04x, want 0xbf80", got)
	}
}

func TestReadErrors(t *testing.T) {
	f, err := open(file(`{"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"b":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[8,12]}}`,
		append(binary.LittleEndian.AppendUint64(nil, 1<<40), 0, 0, 0, 0)))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		dst  map[string]*tensor.Tensor
		want string
	}{
		{"absent", map[string]*tensor.Tensor{"zz": tensor.Zeros(tensor.F32, 1)}, `no tensor "zz"`},
		{"no conversion", map[string]*tensor.Tensor{"b": tensor.Zeros(tensor.F32, 4)}, "F8_E4M3 elements cannot be read as f32"},
		{"other size", map[string]*tensor.Tensor{"a": tensor.Zeros(tensor.I32, 2)}, "stored as I64[1]"},
		{"out of range", map[string]*tensor.Tensor{"a": tensor.Zeros(tensor.I32, 1)}, "does not fit"},
	}
	for _, tt := range tests {
		if err := Read(f, tt.dst); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestIndexRejects(t *testing.T) {
	for _, tt := range []struct{ index, want string }{
		{`{"weight_map":{"a":"../x.safetensors"}}`, "plain file name"},
		{`{"weight_map":{"a":"/etc/passwd"}}`, "plain file name"},
		{`{"weight_map":{"a":"sub/x.safetensors"}}`, "plain file name"},
		{`{"weight_map":{"a":"sub\\x.safetensors"}}`, "plain file name"},
		{`{"weight_map":{"a":""}}`, "plain file name"},
		{`{"weight_map":{"a":"x","a":"y"}}`, "occurs twice"},
		{`{"weight_map":{"a":"x"},"weight_map":{}}`, "occurs twice"},
		{`{"weight_map":{"a":1}}`, "expected a string"},
		{`{"metadata":{}}`, "weight_map is missing"},
		{`[`, "index"},
	} {
		if _, err := ParseIndex([]byte(tt.index)); err == nil || !strings.Contains(err.Error(), tt.want) || !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v, want %q", tt.index, err, tt.want)
		}
	}
	m, err := ParseIndex([]byte(`{"metadata":{"total_size":4,"x":[1]},"weight_map":{"a":"model-00001-of-00002.safetensors"}}`))
	if err != nil || len(m) != 1 {
		t.Errorf("a good index: %v, %v", m, err)
	}
}

func TestSetChecksShards(t *testing.T) {
	build := func(t *testing.T, index string) string {
		dir := t.TempDir()
		for _, n := range []string{"a", "b"} {
			if err := WriteFile(filepath.Join(dir, n+".safetensors"), nil, []Tensor{raw(n, U8, []byte{1}, 1)}); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, IndexFile), []byte(index), 0o644); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for _, tt := range []struct{ name, maps, want string }{
		{"good", `"a":"a.safetensors","b":"b.safetensors"`, ""},
		{"tensor missing from its shard", `"a":"a.safetensors","b":"b.safetensors","c":"b.safetensors"`, `"c" is missing`},
		{"shard absent", `"a":"a.safetensors","b":"n.safetensors"`, "n.safetensors"},
		{"tensor in another shard", `"a":"b.safetensors","b":"a.safetensors"`, "does not say"},
		{"tensor not listed", `"a":"a.safetensors","x":"b.safetensors"`, "does not say"},
	} {
		s, err := OpenSet(build(t, fmt.Sprintf(`{"weight_map":{%s}}`, tt.maps)))
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
				continue
			}
			s.Close()
		} else if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func FuzzFile(f *testing.F) {
	f.Add(file(`{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, make([]byte, 4)))
	f.Add(file(`{"a":{"dtype":"F16","shape":[2,0],"data_offsets":[0,0]},"b":{"dtype":"BF16","shape":[],"data_offsets":[0,2]}}`, make([]byte, 2)))
	f.Add(file(`{"a":{"dtype":"I64","shape":[4611686018427387903,4611686018427387903],"data_offsets":[0,8]}}`, make([]byte, 8)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s *File
		var err error
		alloctest.Limit(t, len(b), 1<<20, 256, func() { s, err = open(b) })
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("unnamed error %v", err)
			}
			return
		}
		for _, i := range s.Tensors() {
			if _, ok := i.DType.Native(); !ok {
				continue
			}
			x, err := ReadTensor(s, i.Name)
			if err != nil {
				t.Fatalf("%s passed the header check and cannot be read: %v", i, err)
			}
			if x.Len() != i.Shape.Len() {
				t.Fatalf("%s was read as %s", i, x)
			}
		}
		// The same as a file: what it shows is what is read.
		path := filepath.Join(t.TempDir(), "x.safetensors")
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		disk, err := Open(path)
		if err != nil {
			t.Fatalf("the same bytes in a file: %v", err)
		}
		defer disk.Close()
		for _, i := range disk.Tensors() {
			v := disk.View(i.Name)
			if v == nil {
				continue
			}
			x, err := ReadTensor(disk, i.Name)
			if err != nil {
				t.Fatal(err)
			}
			if v.DType() != x.DType() || !v.Shape().Equal(x.Shape()) || !bytes.Equal(v.Bytes(), x.Bytes()) {
				t.Fatalf("%s is shown as %s and read as %s", i, v, x)
			}
		}
	})
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"total_size":4},"weight_map":{"a":"model-00001-of-00002.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"../x"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m map[string]string
		var err error
		alloctest.Limit(t, len(b), 1<<20, 256, func() { m, err = ParseIndex(b) })
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("unnamed error %v", err)
			}
			return
		}
		for _, shard := range m {
			if filepath.Base(shard) != shard || !filepath.IsLocal(shard) || strings.Contains(shard, "..") {
				t.Fatalf("shard %q passed", shard)
			}
		}
	})
}

// Every bf16 pattern, NaNs with their payload, becomes the f32 of the same value, whatever the number of elements.
func TestWidenBF16(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 9, 23, 1 << 16} {
		raw, out := make([]byte, 2*n), make([]byte, 4*n+4)
		for i := range n {
			binary.LittleEndian.PutUint16(raw[2*i:], uint16(i+1<<16-n))
		}
		widenBF16(out, raw)
		for i := range n {
			if got, want := binary.LittleEndian.Uint32(out[4*i:]), math.Float32bits(tensor.FromBF16(uint16(i+1<<16-n))); got != want {
				t.Fatalf("%d elements: element %d is %#x, want %#x", n, i, got, want)
			}
		}
		if binary.LittleEndian.Uint32(out[4*n:]) != 0 {
			t.Errorf("%d elements: writes past the end", n)
		}
	}
}

// Tensors of several stretches, which begin anywhere, are read whole.
func TestReadOfManyStretches(t *testing.T) {
	const n = 3<<18 + 5 // elements: 3 MiB of f32 and a little
	bits := make([]byte, 2*n)
	for i := range n {
		binary.LittleEndian.PutUint16(bits[2*i:], uint16(i*2654435761>>7))
	}
	f, err := open(file(fmt.Sprintf(`{"a":{"dtype":"BF16","shape":[%d],"data_offsets":[0,%d]}}`, n, 2*n), bits))
	if err != nil {
		t.Fatal(err)
	}
	buf, err := tensor.Host.Alloc(4*n + 64)
	if err != nil {
		t.Fatal(err)
	}
	defer tensor.Host.Free(buf)
	for _, to := range []tensor.DType{tensor.BF16, tensor.F32} {
		for _, off := range []int{0, 4, 60} {
			x := tensor.Over(buf, off, to, n)
			if err := Read(f, map[string]*tensor.Tensor{"a": x}); err != nil {
				t.Fatal(err)
			}
			for i := range n {
				stored, got := binary.LittleEndian.Uint16(bits[2*i:]), uint32(0)
				if to == tensor.BF16 {
					got = uint32(x.BF16()[i]) << 16
				} else {
					got = math.Float32bits(x.F32()[i])
				}
				if got != uint32(stored)<<16 {
					t.Fatalf("%s from byte %d: element %d is %#x, want %#x", to, off, i, got, uint32(stored)<<16)
				}
			}
		}
	}
}
