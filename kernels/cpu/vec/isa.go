package vec

// ISA is an instruction set that the kernels exist for.
type ISA uint8

// The instruction sets, in rising order of width.
const (
	Generic ISA = iota // portable Go
	AVX2               // AVX2 and FMA
	AVX512             // AVX-512 F, BW, DQ and VL
)

// String is the name the backend shows: "generic", "avx2" or "avx512".
func (i ISA) String() string { return [...]string{"generic", "avx2", "avx512"}[i] }

// Best is the widest instruction set of this processor that this binary has kernels for.
var Best = detect()

// active selects the kernels. It changes only in tests and benchmarks, through Use.
var active = Best

// Active is the instruction set in use.
func Active() ISA { return active }

// Use selects an instruction set and returns the one before. It is for tests and benchmarks: it must not be
// called while kernels run, and panics when this processor or binary lacks the set.
func Use(i ISA) ISA {
	if i > Best {
		panic("vec: no " + i.String() + " here")
	}
	before := active
	active = i
	return before
}
