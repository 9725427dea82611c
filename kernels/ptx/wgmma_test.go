package ptx

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/dino-mx/dmx/kernels/ptx/syntax"
	"github.com/dino-mx/dmx/tensor"
)

// layout is how an operand of wgmma lies in shared memory: rows of M or N, columns of K.
type layout struct {
	name       string
	span       int  // swizzle
	transposed bool // M or N is contiguous
}

var layouts = []layout{
	{"k major", 0, false}, {"k major 32", 32, false}, {"k major 64", 64, false}, {"k major 128", 128, false},
	{"mn major", 0, true}, {"mn major 32", 32, true}, {"mn major 64", 64, true}, {"mn major 128", 128, true},
}

// place returns the bytes of shared memory that hold x [rows][k] from a multiple of 1024 on, and for each step of 16
// along k the offset of the descriptor's start with its leading and stride byte offsets. It is written from the tables
// of the PTX ISA in terms of rows and columns, not of address bits.
func (y layout) place(x []float32, rows, k int) (image []byte, start func(step int) int, leading, stride int) {
	var at func(r, c int) int
	per := y.span / 2 // elements of a swizzled row
	switch {
	case y.span == 0 && !y.transposed:
		// Matrices of 8 rows of 16 bytes: one after the other along k, 64 bytes of gap between groups of rows.
		leading, stride = 128, 128*k/8+64
		at = func(r, c int) int { return r/8*stride + c/8*leading + r%8*16 + c%8*2 }
		start = func(step int) int { return step * 2 * leading }
	case y.span == 0:
		// The same with the columns of k as rows of the matrices: along M or N first.
		stride, leading = 128, 128*rows/8+64
		at = func(r, c int) int { return r/8*stride + c/8*leading + c%8*16 + r%8*2 }
		start = func(step int) int { return step * 2 * leading }
	case !y.transposed:
		// Columns of k in strips as wide as the swizzle; in a strip the rows follow one another.
		leading, stride = 16, 8*y.span
		strip := rows * y.span
		at = func(r, c int) int {
			return c/per*strip + r*y.span + (c%per/8^r*y.span/128%(y.span/16))*16 + c%8*2
		}
		start = func(step int) int { return step*16/per*strip + step*16%per*2 }
	default:
		// Rows of M or N in strips as wide as the swizzle; in a strip the columns of k follow one another.
		leading, stride = k*y.span, 8*y.span
		at = func(r, c int) int {
			return r/per*leading + c*y.span + (r%per/8^c*y.span/128%(y.span/16))*16 + r%8*2
		}
		start = func(step int) int { return step * 2 * stride }
	}
	for r := range rows {
		for c := range k {
			o := at(r, c)
			if o+2 > len(image) {
				image = append(image, make([]byte, o+2-len(image))...)
			}
			binary.LittleEndian.PutUint16(image[o:], tensor.ToBF16(x[r*k+c]))
		}
	}
	image = append(image, make([]byte, -len(image)&1023)...)
	return image, start, leading, stride
}

// wgmmaCase is one product of m64, n, k by one instruction for each 16 of k.
type wgmmaCase struct {
	n, k           int
	a, b           layout
	fromRegisters  bool // a
	scaleA, scaleB int
	keep           bool // the accumulators begin at 1 and scale-d is true throughout
}

// source is the kernel of a case: it copies an image to shared memory, multiplies, and writes the accumulators of each
// thread one after the other.
func (c *wgmmaCase) source(aStart, bStart func(int) int, aBytes int, aLeading, aStride, bLeading, bStride, total int) string {
	spanBits := map[int]uint64{0: 0, 128: 1, 64: 2, 32: 3}
	encode := func(leading, stride, span int) uint64 {
		return uint64(leading>>4)<<16 | uint64(stride>>4)<<32 | spanBits[span]<<62
	}
	flag := map[bool]int{true: 1}
	var d []string
	var zero, store strings.Builder
	for i := range c.n / 2 {
		d = append(d, fmt.Sprintf("%%d%d", i))
		fmt.Fprintf(&zero, "mov.f32 %%d%d, 0f%08X;\n", i, map[bool]uint32{true: 0x3f800000, false: 0x7fc00000}[c.keep])
		fmt.Fprintf(&store, "st.global.f32 [%%out+%d], %%d%d;\n", 4*i, i)
	}
	var mma strings.Builder
	for step := range c.k / 16 {
		fmt.Fprintf(&mma, "add.s64 %%db, %%base, %d;\nor.b64 %%db, %%db, %#x;\n", (aBytes+bStart(step))>>4, encode(bLeading, bStride, c.b.span))
		operand, trans := "%da", fmt.Sprintf("%d, %d", flag[c.a.transposed], flag[c.b.transposed])
		if c.fromRegisters {
			// A lies in plain rows of k; the four registers hold rows lane/4 and lane/4+8, columns 2(lane%4) and 8 further.
			operand, trans = fmt.Sprintf("{%%a%d, %%a%d, %%a%d, %%a%d}", 4*step, 4*step+1, 4*step+2, 4*step+3), fmt.Sprint(flag[c.b.transposed])
		} else {
			fmt.Fprintf(&mma, "add.s64 %%da, %%base, %d;\nor.b64 %%da, %%da, %#x;\n", aStart(step)>>4, encode(aLeading, aStride, c.a.span))
		}
		p := "%first"
		if step > 0 || c.keep {
			p = "%again"
		}
		fmt.Fprintf(&mma, "wgmma.mma_async.sync.aligned.m64n%dk16.f32.bf16.bf16 {%s}, %s, %%db, %s, %d, %d, %s;\n", c.n, strings.Join(d, ", "), operand, p, c.scaleA, c.scaleB, trans)
	}
	var fragments strings.Builder
	if c.fromRegisters {
		fmt.Fprintf(&fragments, `shr.u32 %%r0, %%thr, 5; shl.b32 %%r0, %%r0, 4; and.b32 %%r1, %%thr, 31; shr.u32 %%r2, %%r1, 2; add.s32 %%r0, %%r0, %%r2;
and.b32 %%r1, %%r1, 3; mul.lo.s32 %%r0, %%r0, %d; shl.b32 %%r1, %%r1, 2; add.s32 %%r0, %%r0, %%r1; mov.u32 %%r1, tile; add.s32 %%r0, %%r0, %%r1;
`, 2*c.k)
		for step := range c.k / 16 {
			for i, o := range []int{0, 16 * c.k, 16, 16*c.k + 16} {
				fmt.Fprintf(&fragments, "ld.shared.u32 %%a%d, [%%r0+%d];\n", 4*step+i, 32*step+o)
			}
		}
	}
	return fmt.Sprintf(`.version 8.3
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 k_param_0, .param .u64 k_param_1)
.maxntid 128, 1, 1
{
.reg .pred %%p, %%first, %%again; .reg .b32 %%thr, %%at, %%end, %%r<8>; .reg .b32 %%a<%d>; .reg .f32 %%d<%d>; .reg .b64 %%in, %%out, %%base, %%da, %%db, %%z;
.shared .align 1024 .b8 tile[%d];
mov.u32 %%thr, %%tid.x; ld.param.u64 %%in, [k_param_0]; ld.param.u64 %%out, [k_param_1];
mul.wide.u32 %%z, %%thr, %d; add.s64 %%out, %%out, %%z;
mov.u32 %%at, tile; add.s32 %%end, %%at, %d; shl.b32 %%r0, %%thr, 4; add.s32 %%at, %%at, %%r0; mul.wide.u32 %%z, %%thr, 16; add.s64 %%in, %%in, %%z;
$copy: setp.ge.u32 %%p, %%at, %%end; @%%p bra $copied;
ld.global.v4.u32 {%%r0, %%r1, %%r2, %%r3}, [%%in]; st.shared.v4.u32 [%%at], {%%r0, %%r1, %%r2, %%r3}; add.s64 %%in, %%in, 2048; add.s32 %%at, %%at, 2048; bra $copy;
$copied: fence.proxy.async; bar.sync 0;
mov.u32 %%r0, tile; shr.u32 %%r0, %%r0, 4; cvt.u64.u32 %%base, %%r0;
setp.ne.u32 %%again, %%end, 0; setp.eq.u32 %%first, %%end, 0;
%s%swgmma.fence.sync.aligned;
%swgmma.commit_group.sync.aligned;
wgmma.wait_group.sync.aligned 0;
%sret;
}`, max(c.k/4, 1), c.n/2, total, 2*c.n, total, zero.String(), fragments.String(), mma.String(), store.String())
}

// run executes the case on small integers, whose products and sums are exact, and compares every accumulator.
func (c *wgmmaCase) run(t *testing.T) {
	r := tensor.NewRand(5, uint32(c.n), uint32(c.k), 1<<24)
	random := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.Intn(17) - 8)
		}
		return v
	}
	a, b := random(64*c.k), random(c.n*c.k)
	aImage, aStart, aLeading, aStride := c.a.place(a, 64, c.k)
	if c.fromRegisters {
		aImage = make([]byte, 64*c.k*2)
		for i, v := range a {
			binary.LittleEndian.PutUint16(aImage[2*i:], tensor.ToBF16(v))
		}
	}
	bImage, bStart, bLeading, bStride := c.b.place(b, c.n, c.k)
	image := append(append([]byte(nil), aImage...), bImage...)
	mod, err := syntax.Parse(c.source(aStart, bStart, len(aImage), aLeading, aStride, bLeading, bStride, len(image)))
	if err != nil {
		t.Fatal(err)
	}
	m := NewMachine(16 << 20)
	p, err := m.Load(mod)
	if err != nil {
		t.Fatal(err)
	}
	in, _ := m.Alloc(len(image))
	out, _ := m.Alloc(128 * 2 * c.n)
	if err := m.Write(in, image); err != nil {
		t.Fatal(err)
	}
	args := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, in), out)
	if err := p.Launch("k", [3]int{1, 1, 1}, [3]int{128, 1, 1}, 0, args); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 128*2*c.n)
	if err := m.Read(got, out); err != nil {
		t.Fatal(err)
	}
	for thread := range 128 {
		for i := range c.n / 2 {
			// The accumulator layout of the PTX ISA.
			row := thread/32*16 + thread%32/4 + 8*(i/2%2)
			col := i/4*8 + thread%4*2 + i%2
			want := float32(0)
			if c.keep {
				want = 1
			}
			for k := range c.k {
				want += float32(c.scaleA*c.scaleB) * a[row*c.k+k] * b[col*c.k+k]
			}
			if g := math.Float32frombits(binary.LittleEndian.Uint32(got[thread*2*c.n+4*i:])); g != want {
				t.Fatalf("thread %d, accumulator %d (row %d, column %d): got %v, want %v", thread, i, row, col, g, want)
			}
		}
	}
}

func TestWgmmaLayouts(t *testing.T) {
	for _, a := range layouts {
		for _, b := range layouts {
			t.Run(a.name+" by "+b.name, func(t *testing.T) {
				(&wgmmaCase{n: 64, k: 64, a: a, b: b, scaleA: 1, scaleB: 1}).run(t)
			})
		}
	}
	for _, b := range layouts {
		t.Run("registers by "+b.name, func(t *testing.T) {
			(&wgmmaCase{n: 64, k: 64, a: layouts[0], b: b, fromRegisters: true, scaleA: 1, scaleB: 1}).run(t)
		})
	}
}

// Every N, and the scales.
func TestWgmmaShapes(t *testing.T) {
	for n := 8; n <= 256; n += 8 {
		t.Run(fmt.Sprint("n ", n), func(t *testing.T) {
			(&wgmmaCase{n: n, k: 16, a: layouts[3], b: layouts[3], scaleA: 1, scaleB: 1}).run(t)
		})
	}
	for _, c := range []wgmmaCase{{scaleA: -1, scaleB: 1}, {scaleA: 1, scaleB: -1, keep: true}, {scaleA: -1, scaleB: -1, keep: true}, {scaleA: -1, scaleB: 1, fromRegisters: true}} {
		c.n, c.k, c.a, c.b = 24, 32, layouts[3], layouts[7]
		t.Run(fmt.Sprintf("scales %d %d, keep %v, registers %v", c.scaleA, c.scaleB, c.keep, c.fromRegisters), c.run)
	}
}

// The widest instruction, four of them, by a warpgroup.
func BenchmarkWgmma(b *testing.B) {
	c := wgmmaCase{n: 256, k: 64, a: layouts[3], b: layouts[3], scaleA: 1, scaleB: 1}
	_, aStart, aLeading, aStride := c.a.place(make([]float32, 64*64), 64, 64)
	_, bStart, bLeading, bStride := c.b.place(make([]float32, 256*64), 256, 64)
	mod, err := syntax.Parse(c.source(aStart, bStart, 8192, aLeading, aStride, bLeading, bStride, 8192+32768))
	if err != nil {
		b.Fatal(err)
	}
	m := NewMachine(16 << 20)
	p, err := m.Load(mod)
	if err != nil {
		b.Fatal(err)
	}
	in, _ := m.Alloc(8192 + 32768)
	out, _ := m.Alloc(128 * 512)
	if err := m.Fill(in, 0, 8192+32768); err != nil {
		b.Fatal(err)
	}
	args := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, in), out)
	for b.Loop() {
		if err := p.Launch("k", [3]int{1, 1, 1}, [3]int{128, 1, 1}, 0, args); err != nil {
			b.Fatal(err)
		}
	}
}
