package ptx

import (
	"fmt"
	"math"

	"github.com/dino-mx/dmx/kernels/ptx/syntax"
	"github.com/dino-mx/dmx/tensor"
)

// Registers hold raw bits in the low end of a uint64. These convert between bits and values. A NaN that is computed is
// the canonical one of its type: single-precision instructions keep no payload (PTX ISA, floating-point instructions).

const (
	nanF32  = 0x7fffffff
	nanBF16 = 0x7fff
)

func f32(b uint64) float32 { return math.Float32frombits(uint32(b)) }

func bf32(f float32) uint64 {
	if f != f {
		return nanF32
	}
	return uint64(math.Float32bits(f))
}

func f64(b uint64) float64  { return math.Float64frombits(b) }
func bf64(f float64) uint64 { return math.Float64bits(f) }

func bf16(b uint64) float32 { return tensor.FromBF16(uint16(b)) }

func toBF16(f float32) uint64 {
	if f != f {
		return nanBF16
	}
	return uint64(tensor.ToBF16(f))
}

// flushF32 replaces the bits of a subnormal f32 by those of a zero of its sign, as .ftz does.
func flushF32(b uint64) uint64 {
	if b&0x7f800000 == 0 {
		return b & 0x80000000
	}
	return b
}

func signExt(v uint64, size int) int64 {
	s := 64 - 8*size
	return int64(v<<s) >> s
}

func truncate(v uint64, size int) uint64 {
	if size >= 8 {
		return v
	}
	return v & (1<<(8*size) - 1)
}

// class splits a type into its kind ('u', 's', 'b', 'f', 'h' for f16, 'g' for bf16, upper case for packed
// pairs, 'p') and size.
func class(t string) (byte, int) {
	switch t {
	case "f32", "f64":
		return 'f', syntax.Size(t)
	case "f16":
		return 'h', 2
	case "bf16":
		return 'g', 2
	case "f16x2":
		return 'H', 4
	case "bf16x2":
		return 'G', 4
	case "pred":
		return 'p', 0
	case "":
		return 0, 0
	}
	return t[0], syntax.Size(t)
}

func isFloat(t string) bool {
	k, _ := class(t)
	return k == 'f' || k == 'h' || k == 'g' || k == 'H' || k == 'G'
}

// unsupported is the error of an instruction whose type, "" for none, is not one of those it knows.
func unsupported(t string) error {
	if t == "" {
		return fmt.Errorf("no type, or one that is not known")
	}
	return fmt.Errorf("type .%s is not supported here", t)
}
