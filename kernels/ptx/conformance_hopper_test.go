package ptx

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/kernels/cuda/gpu"
)

// hopperPrograms are conformance programs, in the frame of wrap, of the instructions of compute capability 9.0. Each
// also runs with .shared in place of .shared::cta.
var hopperPrograms = []struct {
	ops, body string
	want      func(t int, in [32]uint64) uint64
}{
	// Every lane arrives once; the state that arrive returns is of a phase that is complete after the last one.
	{"mbarrier.init.shared::cta.b64 mbarrier.arrive.shared::cta.b64 mbarrier.test_wait.shared::cta.b64 mbarrier.inval.shared::cta.b64",
		`mov.u32 %r1, box; setp.eq.s32 %p1, %l, 0; @%p1 mbarrier.init.shared::cta.b64 [%r1], 32; bar.sync 0; mbarrier.arrive.shared::cta.b64 %z, [%r1]; bar.sync 0;
		mbarrier.test_wait.shared::cta.b64 %p2, [%r1], %z; bar.sync 0; @%p1 mbarrier.inval.shared::cta.b64 [%r1]; @%p1 st.shared.u32 [%r1], 7; selp.b64 %y, 1, 0, %p2;`,
		func(int, [32]uint64) uint64 { return 1 }},
	// 31 of 32 arrivals leave the phase open.
	{"mbarrier.test_wait.parity.shared::cta.b64",
		`mov.u32 %r1, box; setp.eq.s32 %p1, %l, 0; @%p1 mbarrier.init.shared::cta.b64 [%r1], 32; bar.sync 0; @!%p1 mbarrier.arrive.shared::cta.b64 _, [%r1]; bar.sync 0;
		mbarrier.test_wait.parity.shared::cta.b64 %p2, [%r1], 0; mbarrier.test_wait.parity.shared::cta.b64 %p3, [%r1], 1; selp.b64 %y, 1, 0, %p2; selp.b64 %z, 2, 0, %p3; add.s64 %y, %y, %z;`,
		func(int, [32]uint64) uint64 { return 2 }},
	// The count of an arrival, and the wait that blocks, by state and by parity.
	{"mbarrier.try_wait.shared::cta.b64 mbarrier.try_wait.parity.shared::cta.b64 mbarrier.arrive.release.cta.shared::cta.b64 mbarrier.try_wait.parity.acquire.cta.shared::cta.b64",
		`mov.u32 %r1, box; setp.eq.s32 %p1, %l, 0; @%p1 mbarrier.init.shared::cta.b64 [%r1], 496; bar.sync 0; setp.ne.s32 %p2, %l, 0;
		mov.u64 %z, 0; @%p2 mbarrier.arrive.release.cta.shared::cta.b64 %z, [%r1], %l; mov.u64 %y, 0;
		$a: mbarrier.try_wait.parity.acquire.cta.shared::cta.b64 %p3, [%r1], 0; @!%p3 bra $a;
		$b: mbarrier.try_wait.parity.shared::cta.b64 %p3, [%r1], 0, 1000; @!%p3 bra $b;
		mov.u64 %y, 3; @%p2 mbarrier.try_wait.shared::cta.b64 %p3, [%r1], %z; @%p2 selp.b64 %y, 3, 4, %p3;`,
		func(int, [32]uint64) uint64 { return 3 }},
	// Bytes that are expected and then counted down.
	{"mbarrier.arrive.expect_tx.shared::cta.b64 mbarrier.expect_tx.relaxed.cta.shared::cta.b64 mbarrier.complete_tx.relaxed.cta.shared::cta.b64 mbarrier.arrive.noComplete.shared::cta.b64",
		`mov.u32 %r1, box; setp.eq.s32 %p1, %l, 0; @%p1 mbarrier.init.shared::cta.b64 [%r1], 2; mov.u64 %y, 0; @!%p1 bra $end;
		mbarrier.arrive.noComplete.shared::cta.b64 %z, [%r1], 1; mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%r1], 5; mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r1], 11;
		mbarrier.test_wait.parity.shared::cta.b64 %p2, [%r1], 0; mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [%r1], 16; mbarrier.test_wait.parity.shared::cta.b64 %p3, [%r1], 0;
		selp.b64 %y, 2, 0, %p2; selp.b64 %z, 1, 0, %p3; add.s64 %y, %y, %z; $end: bar.sync 0;`,
		func(t int, _ [32]uint64) uint64 {
			if t == 0 {
				return 1
			}
			return 0
		}},
	// A plain bulk copy in and out again: the input to shared memory, 128 bytes of it to the output.
	{"cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes cp.async.bulk.global.shared::cta.bulk_group cp.async.bulk.commit_group cp.async.bulk.wait_group.read cp.async.bulk.wait_group fence.mbarrier_init.release.cluster",
		`mov.u32 %r1, box; add.s32 %r2, %r1, 256; setp.eq.s32 %p1, %l, 0; @!%p1 bra $loaded; mbarrier.init.shared::cta.b64 [%r2], 1; fence.mbarrier_init.release.cluster;
		mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], 256; cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%a], 256, [%r2];
		$loaded: bar.sync 0; $w: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r2], 0; @!%p2 bra $w; shl.b32 %r3, %l, 3; add.s32 %r3, %r3, %r1; ld.shared.u64 %y, [%r3];
		@!%p1 bra $end; cp.async.bulk.global.shared::cta.bulk_group [%b], [%r1], 128; cp.async.bulk.commit_group; cp.async.bulk.wait_group.read 0; cp.async.bulk.wait_group 0;
		$end: bar.sync 0; setp.gt.s32 %p1, %l, 15; @%p1 mov.u64 %y, 9; @!%p1 ld.global.u64 %y, [%b];`,
		func(t int, in [32]uint64) uint64 {
			if t < 16 {
				return in[t]
			}
			return 9
		}},
	{"cp.async.mbarrier.arrive.noinc.shared::cta.b64 cp.async.mbarrier.arrive.shared::cta.b64 cp.async.ca.shared.global",
		`mov.u32 %r1, box; add.s32 %r2, %r1, 256; setp.eq.s32 %p1, %l, 0; @%p1 mbarrier.init.shared::cta.b64 [%r2], 64; bar.sync 0; shl.b32 %r3, %l, 3; add.s32 %r3, %r3, %r1;
		cp.async.ca.shared.global [%r3], [%a], 8; cp.async.mbarrier.arrive.shared::cta.b64 [%r2]; cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%r2]; mbarrier.arrive.shared::cta.b64 _, [%r2];
		$w: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r2], 0; @!%p2 bra $w; xor.b32 %r3, %r3, 8; ld.shared.u64 %y, [%r3];`,
		func(t int, in [32]uint64) uint64 { return in[t^1] }},
	// Exactly one lane leads, and all know which.
	{"elect.sync vote.sync.ballot.b32", `elect.sync %r1|%p1, -1; vote.sync.ballot.b32 %r2, %p1, -1; mov.u32 %r3, 1; shl.b32 %r3, %r3, %r1; setp.eq.u32 %p2, %r2, %r3; selp.b64 %y, 1, 0, %p2;`,
		func(int, [32]uint64) uint64 { return 1 }},
	{"fence.proxy.async fence.proxy.async.shared::cta fence.proxy.async.global fence.acq_rel.cta fence.acq_rel.cluster fence.acq_rel.gpu fence.sc.cta membar.cta",
		`fence.proxy.async; fence.proxy.async.shared::cta; fence.proxy.async.global; fence.acq_rel.cta; fence.acq_rel.cluster; fence.acq_rel.gpu; fence.sc.cta; membar.cta; mov.u64 %y, %x;`,
		func(t int, in [32]uint64) uint64 { return in[t] }},
	{"barrier.cluster.arrive.aligned barrier.cluster.wait.aligned barrier.cluster.arrive.release.aligned barrier.cluster.wait.acquire.aligned mapa.shared::cluster.u32",
		`mov.u32 %r1, box; shl.b32 %r2, %l, 3; add.s32 %r3, %r1, %r2; st.shared.u64 [%r3], %x; barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;
		barrier.cluster.arrive.release.aligned; barrier.cluster.wait.acquire.aligned; mov.u32 %r5, %cluster_ctarank; mapa.shared::cluster.u32 %r1, %r1, %r5; xor.b32 %r2, %r2, 24; add.s32 %r3, %r1, %r2; ld.shared.u64 %y, [%r3];
		mov.u32 %r4, %cluster_ctaid.x; cvt.u64.u32 %z, %r4; add.s64 %y, %y, %z; mov.u32 %r4, %cluster_nctaid.x; cvt.u64.u32 %z, %r4; add.s64 %y, %y, %z; mov.u32 %r4, %clusterid.x; cvt.u64.u32 %z, %r4; add.s64 %y, %y, %z;`,
		func(t int, in [32]uint64) uint64 { return in[t^3] + 1 }},
	{"cvta.param.u64", `mov.b64 %z, k_param_2; cvta.param.u64 %z, %z; ld.u32 %r1, [%z+4]; cvt.u64.u32 %y, %r1;`, func(int, [32]uint64) uint64 { return 77 }},
	{"bar.arrive", `setp.eq.s32 %p1, %l, 99; @%p1 bar.arrive 1, 64; mov.u64 %y, %x;`, func(t int, in [32]uint64) uint64 { return in[t] }},
}

// hopperElsewhere are instructions whose conformance tests have a frame of their own.
func hopperElsewhere() []string {
	ops := []string{"wgmma.fence.sync.aligned", "wgmma.commit_group.sync.aligned", "wgmma.wait_group.sync.aligned", // TestWgmmaLayouts
		"cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes", "cp.async.bulk.tensor.2d.global.shared::cta.bulk_group", "prefetch.tensormap", // TestTensorCopies
		"setmaxnreg.inc.sync.aligned.u32", "setmaxnreg.dec.sync.aligned.u32", // TestRegisterPool
	}
	for n := 8; n <= 256; n += 8 { // TestWgmmaShapes
		ops = append(ops, fmt.Sprintf("wgmma.mma_async.sync.aligned.m64n%dk16.f32.bf16.bf16", n))
	}
	return ops
}

func TestHopperProgramInstructions(t *testing.T) {
	var in [32]uint64
	for i := range in {
		in[i] = 0x9000000180020003 + uint64(i)*0x0101000302000507
	}
	for _, p := range hopperPrograms {
		for _, space := range []string{".shared::cta", ".shared"} {
			for seed := range uint64(3) {
				t.Run(strings.ReplaceAll(p.ops, ".shared::cta", space)+fmt.Sprint(" schedule ", seed), func(t *testing.T) {
					body := p.body
					if space == ".shared" && strings.Contains(body, "mbarrier") {
						for _, op := range []string{"init", "inval", "arrive", "test_wait", "try_wait", "parity", "cta", "expect_tx", "noinc", "noComplete"} {
							body = strings.ReplaceAll(body, op+".shared::cta.b64", op+".shared.b64")
						}
					}
					got := executeSeed(t, body, in, seed)
					for i := range got {
						if want := p.want(i, in); got[i] != want {
							t.Fatalf("lane %d: got %#x, want %#x", i, got[i], want)
						}
					}
				})
			}
		}
	}
}

// copyKernel loads a box with the copy engine, writes shared memory as it is to out, and stores the box to a second
// matrix. Words of shared memory are 0x5a5a5a5a before.
const copyKernel = `.version 8.3
.target sm_90a
.address_size 64
.visible .entry k(.param .align 64 .b8 k_param_0[128], .param .align 64 .b8 k_param_1[128], .param .u64 k_param_2, .param .u32 k_param_3, .param .u32 k_param_4, .param .u32 k_param_5, .param .u32 k_param_6)
.maxntid 32, 1, 1
{
.reg .pred %p, %one; .reg .b32 %r<16>, %x, %y, %z, %base; .reg .b64 %in, %back, %out, %t;
.shared .align 1024 .b8 tile[8192];
.shared .align 8 .b8 bar[8];
mov.b64 %in, k_param_0; cvta.param.u64 %in, %in; mov.b64 %back, k_param_1; cvta.param.u64 %back, %back;
ld.param.u64 %out, [k_param_2]; ld.param.u32 %x, [k_param_3]; ld.param.u32 %y, [k_param_4]; ld.param.u32 %z, [k_param_5];
mov.u32 %r0, %tid.x; shl.b32 %r1, %r0, 2; mov.u32 %base, tile; add.s32 %r2, %base, %r1; add.s32 %r3, %base, 8192; mov.u32 %r4, 0x5a5a5a5a;
$fill: st.shared.u32 [%r2], %r4; add.s32 %r2, %r2, 128; setp.lt.u32 %p, %r2, %r3; @%p bra $fill;
setp.eq.u32 %one, %r0, 0; mov.u32 %r5, bar; @%one mbarrier.init.shared::cta.b64 [%r5], 1;
fence.proxy.async; bar.sync 0;
ld.param.u32 %r6, [k_param_6]; and.b32 %r7, %r6, 0xffff; shr.u32 %r6, %r6, 16; add.s32 %r6, %r6, %base;
@!%one bra $asked;
prefetch.tensormap [%in];
mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r5], %r7;
LOAD
$asked:
mbarrier.try_wait.parity.shared::cta.b64 %p, [%r5], 0; @!%p bra $asked;
add.s32 %r2, %base, %r1; cvt.u64.u32 %t, %r1; add.s64 %out, %out, %t;
$copy: ld.shared.u32 %r4, [%r2]; st.global.u32 [%out], %r4; add.s64 %out, %out, 128; add.s32 %r2, %r2, 128; setp.lt.u32 %p, %r2, %r3; @%p bra $copy;
bar.sync 0;
@!%one bra $end;
STORE
cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;
$end: ret;
}`

// Boxes of one to three dimensions, inside and across every edge of the tensor, with every swizzle, at addresses that
// begin in the middle of a swizzle pattern: shared memory must hold each element where the tables of the CUDA manual
// put it, zeros for what lies outside, and a store must bring back exactly what lies inside.
func TestTensorCopies(t *testing.T) {
	type copyCase struct {
		name string
		m    tensorMap
		at   [3]int
		to   int // offset of the target from a multiple of 1024
	}
	two := func(elem, cols, rows, boxCols, boxRows, swizzle int) tensorMap {
		return tensorMap{elem: elem, rank: 2, dims: [5]int{cols, rows}, strides: [5]int{elem, (cols*elem+15)&^15 + 16}, box: [5]int{boxCols, boxRows}, swizzle: swizzle}
	}
	var cases []copyCase
	for _, at := range [][3]int{{0, 0}, {8, 3}, {-5, -2}, {60, 9}, {200, 0}, {-200, 0}, {0, 50}} {
		cases = append(cases,
			copyCase{"plain bf16", two(2, 70, 17, 24, 5, 0), at, 128},
			copyCase{"plain f32", two(4, 70, 17, 32, 8, 0), at, 0},
			copyCase{"32", two(2, 70, 17, 16, 20, 32), at, 384},
			copyCase{"64", two(2, 70, 17, 32, 16, 64), at, 0},
			copyCase{"128", two(2, 70, 17, 64, 16, 128), at, 0},
			copyCase{"128 shifted", two(2, 70, 17, 64, 16, 128), at, 256},
			copyCase{"128 f32", two(4, 70, 17, 32, 16, 128), at, 1024})
	}
	cases = append(cases,
		copyCase{"1d", tensorMap{elem: 2, rank: 1, dims: [5]int{100}, strides: [5]int{2}, box: [5]int{64}}, [3]int{50}, 0},
		copyCase{"3d", tensorMap{elem: 2, rank: 3, dims: [5]int{40, 5, 3}, strides: [5]int{2, 96, 512}, box: [5]int{32, 4, 2}, swizzle: 64}, [3]int{9, 3, 2}, 0})
	for i, c := range cases {
		t.Run(fmt.Sprint(c.name, " at ", c.at[:c.m.rank]), func(t *testing.T) {
			d := NewHopperDriver(1<<20, uint64(i%3))
			size := 0
			for k := range c.m.rank {
				size += (c.m.dims[k] - 1) * c.m.strides[k]
			}
			size += c.m.elem
			source := make([]byte, size)
			for i := range source {
				source[i] = byte(i*7 + i>>8*3 + 1)
			}
			in, _ := d.Alloc(size)
			back, _ := d.Alloc(size)
			out, _ := d.Alloc(8192)
			for addr, b := range map[uint64][]byte{in: source, back: make([]byte, size)} {
				if err := d.CopyIn(addr, b); err != nil {
					t.Fatal(err)
				}
			}
			from, to := c.m, c.m
			from.addr, to.addr = in, back
			boxBytes := c.m.elem
			for k := range c.m.rank {
				boxBytes *= c.m.box[k]
			}
			e, f := from.encode(), to.encode()
			args := append(append([]byte(nil), e[:]...), f[:]...)
			args = binary.LittleEndian.AppendUint64(args, out)
			for _, v := range append(c.at[:], boxBytes|c.to<<16) {
				args = binary.LittleEndian.AppendUint32(args, uint32(v))
			}
			coords := []string{"{%x}", "{%x, %y}", "{%x, %y, %z}"}[c.m.rank-1]
			load := fmt.Sprintf("cp.async.bulk.tensor.%dd.shared::cluster.global.mbarrier::complete_tx::bytes [%%r6], [%%in, %s], [%%r5];", c.m.rank, coords)
			store := fmt.Sprintf("cp.async.bulk.tensor.%dd.global.shared::cta.bulk_group [%%back, %s], [%%r6];", c.m.rank, coords)
			if err := runKernel(d, strings.Replace(strings.Replace(copyKernel, "LOAD", load, 1), "STORE", store, 1), 32, args); err != nil {
				t.Fatal(err)
			}

			want := make([]byte, 8192)
			for i := range want {
				want[i] = 0x5a
			}
			wantBack := make([]byte, size)
			inner := c.m.box[0] * c.m.elem
			for e := range boxBytes / c.m.elem {
				row, col := e/c.m.box[0], e%c.m.box[0]*c.m.elem
				at, rest, inside, src := [3]int{}, e, true, 0
				for k := range c.m.rank {
					at[k] = c.at[k] + rest%c.m.box[k]
					rest /= c.m.box[k]
					inside = inside && at[k] >= 0 && at[k] < c.m.dims[k]
					src += at[k] * c.m.strides[k]
				}
				// The chunk of 16 bytes within a row is exchanged by the number of the row's 128-byte line.
				line := (c.to + row*inner) / 128
				if c.m.swizzle != 0 {
					col = (col/16^line%(c.m.swizzle/16))*16 + col%16
				}
				dst := want[c.to+row*inner+col:][:c.m.elem]
				clear(dst)
				if inside {
					copy(dst, source[src:])
					copy(wantBack[src:], dst)
				}
			}
			for addr, want := range map[uint64][]byte{out: want, back: wantBack} {
				got := make([]byte, len(want))
				if err := d.CopyOut(got, addr); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%d bytes: -want +got\n%.2000s", len(want), cmp.Diff(want, got))
				}
			}
		})
	}
}

// runKernel launches kernel k of src on one block. args are packed by the rules of C.
func runKernel(d *Driver, src string, threads int, args []byte) error {
	mod, err := d.Load("test", src)
	if err != nil {
		return err
	}
	f, err := mod.Function("k", 0)
	if err != nil {
		return err
	}
	l := gpu.Launch{Name: "k", Function: f, Grid: [3]int{1, 1, 1}, Block: [3]int{threads, 1, 1}, Args: args}
	at := 0
	for _, p := range mod.(module).p.Kernel("k").Params {
		at = (at + p.Align - 1) &^ (p.Align - 1)
		l.Params = append(l.Params, uint32(at))
		at += p.Size
	}
	return d.Launch(&l)
}

// Two warpgroups share the register file: the second gets more only when the first has given some back.
func TestRegisterPool(t *testing.T) {
	const src = `.version 8.3
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 k_param_0)
.maxntid 256, 1, 1
{
.reg .pred %p; .reg .b32 %r<4>; .reg .b64 %out, %t;
mov.u32 %r0, %tid.x; ld.param.u64 %out, [k_param_0]; mul.wide.u32 %t, %r0, 4; add.s64 %out, %out, %t;
setp.gt.u32 %p, %r0, 127; @%p bra $second;
setmaxnreg.dec.sync.aligned.u32 DOWN; st.global.u32 [%out], 1; bra $end;
$second: setmaxnreg.inc.sync.aligned.u32 256; st.global.u32 [%out], 2;
$end: ret;
}`
	// 65,536 registers for 256 threads are 256 each, so that even .maxnreg is needed to leave room for more.
	for _, c := range []struct {
		down, maxnreg string
		want          string // part of the finding, "" for none
	}{{"152", ".maxnreg 200", "deadlock"}, {"144", ".maxnreg 200", ""}, {"40", ".maxnreg 200", ""}, {"208", ".maxnreg 200", "208 registers; the warp has 200"}} {
		for seed := range uint64(3) {
			d := NewHopperDriver(1<<20, seed)
			out, _ := d.Alloc(4 * 256)
			err := runKernel(d, strings.Replace(strings.Replace(src, "DOWN", c.down, 1), ".maxntid 256, 1, 1", ".maxntid 256, 1, 1 "+c.maxnreg, 1), 256, binary.LittleEndian.AppendUint64(nil, out))
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("down to %s of %s, schedule %d: %v, want %q", c.down, c.maxnreg, seed, err, c.want)
			}
			if err != nil {
				continue
			}
			got := make([]byte, 4*256)
			if err := d.CopyOut(got, out); err != nil {
				t.Fatal(err)
			}
			for i := range 256 {
				if v := binary.LittleEndian.Uint32(got[4*i:]); v != uint32(1+i/128) {
					t.Errorf("thread %d wrote %d", i, v)
				}
			}
		}
	}
}
