package main

import (
	"fmt"
	"math"
	"sort"
	"strings"
)

// target is one instruction set to write kernels for.
type target struct {
	name  string // suffix of the assembly functions
	reg   string // letter of the vector registers
	lanes int
	regs  int
}

var targets = []target{
	{name: "AVX2", reg: "Y", lanes: 8, regs: 16},
	{name: "AVX512", reg: "Z", lanes: 16, regs: 32},
}

// kernel describes one loop over slices of equal length. The body is written once for both instruction sets, as
// what happens to one vector of elements.
type kernel struct {
	name    string
	doc     string
	slices  []string // float32 slices; the first gives the length
	halves  []string // those of slices that hold bf16 bit patterns
	scalars []string // float32 arguments
	factors []string // float32 fields of the struct that k points to, in its order
	results []string // float32 results
	max     bool     // results are maxima instead of sums
	unroll  int
	exp     bool     // the body calls exp
	keep    []string // constants to hold in registers where there are 32
	whole   bool     // the assembly does whole vectors only, the portable loop the rest
	body    func(l *loop)
}

// loop is the emitter of one kernel's assembly for one target.
type loop struct {
	kernel
	target
	out    *strings.Builder
	copy   int  // which of the unrolled copies of the body
	masked bool // the last, partial vector
	next   int  // first register not yet given away, counting down
	named  map[string]string
	consts map[string]bool
}

var pointers = []string{"DI", "SI", "DX", "R8", "R9", "R10", "R11"}

// constants of the exponential, by name; the portable code uses the same.
var constants = map[string]uint32{
	"expHi": math.Float32bits(88.8), "expLo": math.Float32bits(-87.9),
	"log2e": math.Float32bits(math.Log2E), "magic": math.Float32bits(0x1.8p23 + 127),
	"ln2Hi": math.Float32bits(0.693359375), "ln2Lo": math.Float32bits(-2.12194440e-4),
	"c6": math.Float32bits(expC6), "c5": math.Float32bits(expC5), "c4": math.Float32bits(expC4), "c3": math.Float32bits(expC3), "c2": math.Float32bits(expC2),
	"one": math.Float32bits(1), "negInf": math.Float32bits(float32(math.Inf(-1))),
	"bit0": 1, "round": 0x7fff, "quiet": 0x40,
}

func (l *loop) emit(format string, args ...any) { fmt.Fprintf(l.out, "\t"+format+"\n", args...) }

func (l *loop) v(i int) string { return fmt.Sprintf("%s%d", l.reg, i) }

// t is scratch register i; copies of the body share them, as the processor renames registers.
func (l *loop) t(i int) string {
	if i > l.next {
		panic(fmt.Sprintf("%s: out of vector registers on %s", l.kernel.name, l.target.name))
	}
	return l.v(i)
}

// reserve gives a register away for the whole kernel.
func (l *loop) reserve(name string) string {
	r := l.v(l.next)
	l.next--
	l.named[name] = r
	return r
}

// c is a constant as an operand: a register where there are many, memory otherwise.
func (l *loop) c(name string) string {
	if r, ok := l.named["const "+name]; ok {
		return r
	}
	l.consts[name] = true
	return name + "<>(SB)"
}

func (l *loop) mem(slice string) string {
	size := l.size(slice)
	off := ""
	if l.copy > 0 {
		off = fmt.Sprint(l.copy * l.lanes * size)
	}
	return fmt.Sprintf("%s(%s)(AX*%d)", off, l.named["ptr "+slice], size)
}

func (l *loop) size(slice string) int {
	for _, h := range l.halves {
		if h == slice {
			return 2
		}
	}
	return 4
}

// load reads the current vector of a slice; lanes past the end are 0.
func (l *loop) load(slice, dst string) {
	switch {
	case !l.masked:
		l.emit("VMOVUPS %s, %s", l.mem(slice), dst)
	case l.reg == "Z":
		l.emit("VMOVUPS.Z %s, K1, %s", l.mem(slice), dst)
	default:
		l.emit("VMASKMOVPS %s, %s, %s", l.mem(slice), l.named["mask"], dst)
	}
}

func (l *loop) store(src, slice string) {
	switch {
	case !l.masked:
		l.emit("VMOVUPS %s, %s", src, l.mem(slice))
	case l.reg == "Z":
		l.emit("VMOVUPS %s, K1, %s", src, l.mem(slice))
	default:
		l.emit("VMASKMOVPS %s, %s, %s", src, l.named["mask"], l.mem(slice))
	}
}

func (l *loop) scalar(name string) string { return l.named["scalar "+name] }

func (l *loop) acc(result string) string {
	return l.named[fmt.Sprintf("acc %s %d", result, l.copy)]
}

// reduce adds a vector to a result, or raises its maximum.
func (l *loop) reduce(result, src string) {
	op := "VADDPS"
	if l.max {
		op = "VMAXPS"
	}
	acc := l.acc(result)
	switch {
	case !l.masked:
	case l.reg == "Z":
		l.emit("%s %s, %s, K1, %s", op, src, acc, acc)
		return
	case l.max:
		l.emit("VMOVUPS %s, %s", l.c("negInf"), l.t(l.next))
		l.emit("VBLENDVPS %s, %s, %s, %s", l.named["mask"], src, l.t(l.next), src)
	default:
		l.emit("VANDPS %s, %s, %s", src, l.named["mask"], src)
	}
	l.emit("%s %s, %s, %s", op, src, acc, acc)
}

// reduceProduct adds a·b to a result. Lanes past the end of a slice are 0, so the tail needs no mask.
func (l *loop) reduceProduct(result, a, b string) {
	l.emit("VFMADD231PS %s, %s, %s", a, b, l.acc(result))
}

// exp replaces x by e^x, with scratch registers t, n and p.
func (l *loop) exp(x, t, n, p string) {
	// The order of operands keeps a NaN a NaN.
	l.emit("VMINPS %s, %s, %s", x, l.named["expHi"], x)
	l.emit("VMAXPS %s, %s, %s", x, l.named["expLo"], x)
	// Adding 1.5·2^23+127 rounds to an integer n and leaves n+127 in the low bits: the exponent of 2^n.
	l.emit("VMOVUPS %s, %s", l.c("magic"), t)
	l.emit("VFMADD231PS %s, %s, %s", l.c("log2e"), x, t)
	l.emit("VSUBPS %s, %s, %s", l.c("magic"), t, n)
	l.emit("VFNMADD231PS %s, %s, %s", l.c("ln2Hi"), n, x)
	l.emit("VFNMADD231PS %s, %s, %s", l.c("ln2Lo"), n, x)
	l.emit("VPSLLD $23, %s, %s", t, t)
	l.emit("VMOVUPS %s, %s", l.c("c6"), p)
	for _, c := range []string{"c5", "c4", "c3", "c2", "one", "one"} {
		l.emit("VFMADD213PS %s, %s, %s", l.c(c), x, p)
	}
	l.emit("VMULPS %s, %s, %s", t, p, x)
}

// offsets of the arguments of the assembly function, and the signature it has in Go.
func (k *kernel) frame() (args []string, at map[string]int, size int) {
	at = map[string]int{}
	for _, s := range k.slices {
		at[s] = size
		typ := "*float32"
		for _, h := range k.halves {
			if h == s {
				typ = "*uint16"
			}
		}
		args = append(args, s+" "+typ)
		size += 8
	}
	at["n"] = size
	args = append(args, "n int")
	size += 8
	if k.factors != nil {
		at["k"] = size
		args = append(args, "k *Adam")
		size += 8
	}
	for _, s := range k.scalars {
		at[s] = size
		args = append(args, s+" float32")
		size += 4
	}
	if k.results != nil {
		size = (size + 7) &^ 7
	}
	for _, r := range k.results {
		at[r] = size
		size += 4
	}
	return args, at, size
}

func (k *kernel) function(t target) string {
	return strings.ToLower(k.name[:1]) + k.name[1:] + t.name
}

// write emits the whole function.
func (l *loop) write() {
	_, at, size := l.frame()
	fmt.Fprintf(l.out, "\n// func %s(%s)%s\n", l.function(l.target), l.signature(), l.returns())
	fmt.Fprintf(l.out, "TEXT ·%s(SB), NOSPLIT, $0-%d\n", l.function(l.target), size)
	for i, s := range l.slices {
		l.named["ptr "+s] = pointers[i]
		l.emit("MOVQ %s+%d(FP), %s", s, at[s], pointers[i])
	}
	l.emit("MOVQ n+%d(FP), CX", at["n"])
	l.prologue(at)
	l.emit("XORQ AX, AX")
	if l.unroll > 1 {
		l.loop("many", l.unroll)
	}
	l.loop("one", 1)
	if !l.whole {
		l.tail()
	}
	l.label("done")
	l.finish(at)
	l.emit("VZEROUPPER")
	l.emit("RET")
}

func (l *loop) signature() string {
	args, _, _ := l.frame()
	return strings.Join(args, ", ")
}

func (l *loop) returns() string { return returns(l.results) }

func returns(results []string) string {
	if len(results) == 0 {
		return ""
	}
	return " (" + strings.Join(results, ", ") + " float32)"
}

func (l *loop) label(name string) {
	fmt.Fprintf(l.out, "\n%s:\n", name)
}

func (l *loop) prologue(at map[string]int) {
	if !l.whole && l.reg == "Y" {
		l.reserve("mask")
	}
	for _, s := range l.scalars {
		l.emit("VBROADCASTSS %s+%d(FP), %s", s, at[s], l.reserve("scalar "+s))
	}
	if l.factors != nil {
		l.emit("MOVQ k+%d(FP), BX", at["k"])
		for i, s := range l.factors {
			l.emit("VBROADCASTSS %d(BX), %s", 4*i, l.reserve("scalar "+s))
		}
	}
	if l.kernel.exp {
		for _, c := range []string{"expHi", "expLo"} {
			l.consts[c] = true
			l.emit("VMOVUPS %s<>(SB), %s", c, l.reserve(c))
		}
		if l.regs == 32 {
			for _, c := range []string{"magic", "log2e", "ln2Hi", "ln2Lo", "c6", "c5", "c4", "c3", "c2", "one"} {
				l.consts[c] = true
				l.emit("VMOVUPS %s<>(SB), %s", c, l.reserve("const "+c))
			}
		}
	}
	if l.regs == 32 {
		for _, c := range l.keep {
			l.consts[c] = true
			l.emit("VMOVUPS %s<>(SB), %s", c, l.reserve("const "+c))
		}
	}
	for _, r := range l.results {
		for u := range l.unroll {
			a := l.reserve(fmt.Sprintf("acc %s %d", r, u))
			if l.max {
				l.emit("VMOVUPS %s, %s", l.c("negInf"), a)
			} else if l.reg == "Z" {
				l.emit("VPXORD %s, %s, %s", a, a, a)
			} else {
				l.emit("VXORPS %s, %s, %s", a, a, a)
			}
		}
	}
}

// loop emits the loop over copies vectors at a time.
func (l *loop) loop(name string, copies int) {
	step := copies * l.lanes
	after := map[string]string{"many": "one", "one": "tail"}[name]
	if name == "one" {
		l.label("one")
		if l.whole {
			after = "done"
		}
	}
	l.emit("MOVQ CX, BX")
	l.emit("ANDQ $%d, BX", -step)
	l.emit("CMPQ AX, BX")
	l.emit("JGE %s", after)
	fmt.Fprintf(l.out, "\tPCALIGN $32\n")
	l.label(name + "Loop")
	for l.copy = range copies {
		l.body(l)
	}
	l.copy = 0
	l.emit("ADDQ $%d, AX", step)
	l.emit("CMPQ AX, BX")
	l.emit("JLT %sLoop", name)
}

func (l *loop) tail() {
	l.label("tail")
	l.emit("SUBQ AX, CX")
	l.emit("JZ done")
	if l.reg == "Z" {
		l.emit("MOVL $1, BX")
		l.emit("SHLL CX, BX")
		l.emit("DECL BX")
		l.emit("KMOVW BX, K1")
	} else {
		l.consts["mask"] = true
		l.emit("LEAQ mask<>+32(SB), BX")
		l.emit("NEGQ CX")
		l.emit("VMOVUPS (BX)(CX*4), %s", l.named["mask"])
	}
	l.masked = true
	l.body(l)
	l.masked = false
}

// finish folds the accumulators and stores the results.
func (l *loop) finish(at map[string]int) {
	op := "VADDPS"
	if l.max {
		op = "VMAXPS"
	}
	for _, r := range l.results {
		accs := make([]string, l.unroll)
		for u := range accs {
			accs[u] = l.named[fmt.Sprintf("acc %s %d", r, u)]
		}
		for n := len(accs); n > 1; n = (n + 1) / 2 {
			for i := range n / 2 {
				l.emit("%s %s, %s, %s", op, accs[i+(n+1)/2], accs[i], accs[i])
			}
		}
		l.emit("VMOVAPS %s, %s", accs[0], l.t(0))
		if l.reg == "Z" {
			l.emit("VEXTRACTF64X4 $1, Z0, Y1")
			l.emit("%s Y1, Y0, Y0", op)
		}
		l.emit("VEXTRACTF128 $1, Y0, X1")
		l.emit("%s X1, X0, X0", op)
		l.emit("VPERMILPS $0x4e, X0, X1")
		l.emit("%s X1, X0, X0", op)
		l.emit("VPERMILPS $0xb1, X0, X1")
		l.emit("%s X1, X0, X0", op)
		l.emit("VMOVSS X0, %s+%d(FP)", r, at[r])
	}
}

// assembly is the .s file of some kernels for one target.
func assembly(t target, kernels []kernel) string {
	var text strings.Builder
	consts := map[string]bool{}
	for _, k := range kernels {
		l := &loop{kernel: k, target: t, out: &text, next: t.regs - 1, named: map[string]string{}, consts: consts}
		l.write()
	}
	var b strings.Builder
	b.WriteString(header)
	b.WriteString("//go:build !noasm\n\n#include \"textflag.h\"\n")
	var names []string
	for c := range consts {
		names = append(names, c)
	}
	sort.Strings(names)
	for _, c := range names {
		words := make([]uint32, t.lanes)
		if c == "mask" {
			words = make([]uint32, 2*t.lanes)
			for i := range t.lanes {
				words[i] = math.MaxUint32
			}
		} else {
			for i := range words {
				words[i] = constants[c]
			}
		}
		b.WriteByte('\n')
		for i := 0; i < len(words); i += 2 {
			fmt.Fprintf(&b, "DATA %s<>+%d(SB)/8, $0x%08x%08x\n", c, 4*i, words[i+1], words[i])
		}
		fmt.Fprintf(&b, "GLOBL %s<>(SB), RODATA|NOPTR, $%d\n", c, 4*len(words))
	}
	b.WriteString(text.String())
	return b.String()
}
