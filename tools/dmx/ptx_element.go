package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/dino-mx/dmx/tensor"
)

// element is a type of a kernel's argument: the value of a scalar or the elements of a buffer.
type element struct {
	name string
	kind byte // 'f' float, 'i' signed, 'u' unsigned
	size int  // bytes
	npy  string
}

// elements by the names that arguments use. NumPy has no bf16, which .npy files therefore hold widened to float32.
var elements = []element{
	{"f32", 'f', 4, "<f4"}, {"f64", 'f', 8, "<f8"}, {"bf16", 'f', 2, "<f4"},
	{"i8", 'i', 1, "|i1"}, {"i16", 'i', 2, "<i2"}, {"i32", 'i', 4, "<i4"}, {"i64", 'i', 8, "<i8"},
	{"u8", 'u', 1, "|u1"}, {"u16", 'u', 2, "<u2"}, {"u32", 'u', 4, "<u4"}, {"u64", 'u', 8, "<u8"},
}

func elementOf(name string) (element, error) {
	want := name
	if strings.HasPrefix(name, "s") {
		want = "i" + name[1:] // PTX says s32 where others say i32
	}
	i := slices.IndexFunc(elements, func(e element) bool { return e.name == want })
	if i < 0 {
		var names []string
		for _, e := range elements {
			names = append(names, e.name)
		}
		return element{}, fmt.Errorf("type %q: expected one of %s", name, strings.Join(names, ", "))
	}
	return elements[i], nil
}

// value encodes a number written as text.
func (e element) value(text string) ([]byte, error) {
	var bits uint64
	var err error
	switch {
	case e.kind == 'i':
		var v int64
		v, err = strconv.ParseInt(text, 0, 8*e.size)
		bits = uint64(v)
	case e.kind == 'u':
		bits, err = strconv.ParseUint(text, 0, 8*e.size)
	default:
		var v float64
		v, err = strconv.ParseFloat(text, max(32, 8*e.size))
		bits = e.float(v)
	}
	if err != nil {
		return nil, fmt.Errorf("%q is not a number of type %s", text, e.name)
	}
	return e.append(nil, bits), nil
}

// float returns the bits of a number in a float type.
func (e element) float(v float64) uint64 {
	switch e.name {
	case "f32":
		return uint64(math.Float32bits(float32(v)))
	case "bf16":
		return uint64(tensor.ToBF16(float32(v)))
	}
	return math.Float64bits(v)
}

func (e element) append(b []byte, bits uint64) []byte {
	var raw [8]byte
	binary.LittleEndian.PutUint64(raw[:], bits)
	return append(b, raw[:e.size]...)
}

// text formats element i of a buffer.
func (e element) text(b []byte, i int) string {
	var raw [8]byte
	copy(raw[:], b[i*e.size:(i+1)*e.size])
	bits := binary.LittleEndian.Uint64(raw[:])
	switch {
	case e.kind == 'u':
		return strconv.FormatUint(bits, 10)
	case e.kind == 'i':
		shift := 64 - 8*e.size
		return strconv.FormatInt(int64(bits<<shift)>>shift, 10)
	case e.name == "f64":
		return strconv.FormatFloat(math.Float64frombits(bits), 'g', -1, 64)
	case e.name == "bf16":
		return strconv.FormatFloat(float64(tensor.FromBF16(uint16(bits))), 'g', -1, 32)
	}
	return strconv.FormatFloat(float64(math.Float32frombits(uint32(bits))), 'g', -1, 32)
}

// fromNPY turns the elements of a .npy file into a buffer's, toNPY the other way: the same bytes but for bf16.
func (e element) fromNPY(b []byte) []byte {
	if e.name != "bf16" {
		return b
	}
	out := make([]byte, 0, len(b)/2)
	for ; len(b) >= 4; b = b[4:] {
		out = e.append(out, e.float(float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))))
	}
	return out
}

func (e element) toNPY(b []byte) []byte {
	if e.name != "bf16" {
		return b
	}
	out := make([]byte, 0, 2*len(b))
	for ; len(b) >= 2; b = b[2:] {
		out = binary.LittleEndian.AppendUint32(out, uint32(binary.LittleEndian.Uint16(b))<<16)
	}
	return out
}

// npySize returns the number of bytes of an element in a .npy file.
func (e element) npySize() int {
	if e.name == "bf16" {
		return 4
	}
	return e.size
}
