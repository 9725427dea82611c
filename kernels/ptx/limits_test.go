package ptx

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/dino-mx/dmx/kernels/cuda/gpu"
)

const limitKernel = `.version 8.3
.target sm_80
.address_size 64
.shared .align 4 .b8 box[STATIC];
.visible .entry k(.param .align 8 .b8 k_param_0[PARAMS]) HEAD
{
.reg .b32 %r<2>;
mov.u32 %r0, box;
ret;
}`

// limitCase is one launch of limitKernel: what a driver says to it, "" for nothing.
type limitCase struct {
	name           string
	head           string
	params, static int // 0: 8 and 4 bytes
	grid, block    [3]int
	asked, dynamic int // of shared memory: of Function and of Launch
	hopper         bool
	want           string
}

// A launch that a driver would refuse is refused by the interpreter.
func TestLaunchLimits(t *testing.T) {
	t.Parallel()
	one, warp := [3]int{1, 1, 1}, [3]int{32, 1, 1}
	for _, c := range []limitCase{
		{name: "plain", grid: one, block: warp},
		{name: "4 KiB of parameters", params: 4096, grid: one, block: warp},
		{name: "more than 4 KiB of parameters", params: 4104, grid: one, block: warp, want: "4104 bytes of parameters, at most 4096"},
		{name: "48 KiB of static memory", static: 48 << 10, grid: one, block: warp},
		{name: "more static memory", static: 48<<10 + 4, grid: one, block: warp, want: "static shared memory, at most 49152"},
		{name: "48 KiB unasked", dynamic: 48<<10 - 4, grid: one, block: warp},
		{name: "more unasked", dynamic: 48 << 10, grid: one, block: warp, want: "CUDA_ERROR_INVALID_VALUE: 49152 bytes of dynamic shared memory, the function was prepared for 49148"},
		{name: "less asked for than used", asked: 64 << 10, dynamic: 65 << 10, grid: one, block: warp, want: "prepared for 65536"},
		{name: "all of compute capability 8.0", asked: 163<<10 - 4, dynamic: 163<<10 - 4, grid: one, block: warp},
		{name: "more than compute capability 8.0 has", asked: 163 << 10, grid: one, block: warp, want: "at most 166912 fit"},
		{name: "all of compute capability 9.0", asked: 227<<10 - 4, dynamic: 227<<10 - 4, grid: one, block: warp, hopper: true},
		{name: "more than compute capability 9.0 has", asked: 227 << 10, grid: one, block: warp, hopper: true, want: "at most 232448 fit"},
		{name: "tall grid", grid: [3]int{1, 65536, 1}, block: warp, want: "CUDA_ERROR_INVALID_VALUE: grid [1 65536 1]: dimension 1 is to be from 1 to 65535"},
		{name: "deep grid", grid: [3]int{1, 1, 65536}, block: warp, want: "dimension 2 is to be from 1 to 65535"},
		{name: "long grid", grid: [3]int{1 << 31, 1, 1}, block: warp, want: "dimension 0 is to be from 1 to 2147483647"},
		{name: "empty grid", grid: [3]int{1, 0, 1}, block: warp, want: "dimension 1 is to be from 1"},
		{name: "deep block", grid: one, block: [3]int{1, 1, 64}},
		{name: "deeper block", grid: one, block: [3]int{1, 1, 65}, want: "dimension 2 is to be from 1 to 64"},
		{name: "1,024 threads", head: ".maxntid 1024, 1, 1", grid: one, block: [3]int{32, 32, 1}},
		{name: "1,056 threads", grid: one, block: [3]int{32, 33, 1}, want: "1056 threads, at most 1024 fit"},
		{name: "more threads than the kernel was compiled for", head: ".maxntid 64, 1, 1", grid: one, block: [3]int{65, 1, 1}, want: "65 threads, at most 64 fit"},
		{name: "fewer threads than required", head: ".reqntid 64, 1, 1", grid: one, block: warp, want: ".reqntid wants 64"},
		{name: "as many threads as required", head: ".reqntid 64, 1, 1", grid: one, block: [3]int{64, 1, 1}},
		{name: "256 threads of any kernel", grid: one, block: [3]int{256, 1, 1}},
		{name: "more of a kernel that may have 255 registers", grid: one, block: [3]int{288, 1, 1}, want: "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"},
		{name: "registers that fit", head: ".maxnreg 128", grid: one, block: [3]int{512, 1, 1}},
		{name: "registers that do not fit", head: ".maxnreg 129", grid: one, block: [3]int{512, 1, 1}, want: "16 warps of up to 136 registers"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.launch()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func (c *limitCase) launch() error {
	d := NewDriver(1<<20, 1)
	if c.hopper {
		d = NewHopperDriver(1<<20, 1)
	}
	params := max(c.params, 8)
	src := strings.NewReplacer("PARAMS", fmt.Sprint(params), "STATIC", fmt.Sprint(max(c.static, 4)), "HEAD", c.head).Replace(limitKernel)
	m, err := d.Load("m", src)
	if err != nil {
		return err
	}
	f, err := m.Function("k", c.asked)
	if err != nil {
		return err
	}
	return d.Launch(&gpu.Launch{Name: "k", Function: f, Grid: c.grid, Block: c.block, Shared: c.dynamic, Args: make([]byte, params), Params: []uint32{0}})
}

// An instruction that the architecture of the module does not have is refused with the line.
func TestInstructionsNeedTheirTarget(t *testing.T) {
	t.Parallel()
	const frame = `.version 8.3
.target TARGET
.address_size 64
.visible .entry k(.param .u64 k_param_0) .maxntid 128, 1, 1
{
.reg .pred %p; .reg .b32 %r<8>; .reg .f32 %f<8>; .reg .b64 %z<8>;
BODY
ret;
}`
	for _, c := range []struct{ body, lacks, has string }{
		{"setmaxnreg.dec.sync.aligned.u32 40;", "sm_90", "sm_90a"},
		{"setmaxnreg.dec.sync.aligned.u32 40;", "sm_80", "sm_90a"},
		{"wgmma.fence.sync.aligned;", "sm_90", "sm_90a"},
		{"cp.async.bulk.commit_group;", "sm_80", "sm_90"},
		{"cp.async.commit_group;", "sm_75", "sm_80"},
		{"mbarrier.inval.shared.b64 [%r1];", "sm_75", "sm_80"},
		{"mbarrier.try_wait.parity.shared.b64 %p, [%r1], 0;", "sm_80", "sm_90"},
		{"fence.proxy.async;", "sm_80", "sm_90"},
		{"elect.sync %r1|%p, -1;", "sm_80", "sm_90"},
		{"stmatrix.sync.aligned.m8n8.x1.shared.b16 [%r1], {%r2};", "sm_80", "sm_90"},
	} {
		load := func(target string) error {
			_, errs := Check(strings.NewReplacer("TARGET", target, "BODY", c.body).Replace(frame))
			if len(errs) > 0 {
				return errs[0]
			}
			return nil
		}
		if err := load(c.has); err != nil {
			t.Errorf("%s on %s: %v", c.body, c.has, err)
		}
		if err := load(c.lacks); err == nil || !strings.Contains(err.Error(), "needs .target "+c.has) || !strings.Contains(err.Error(), "line 7") {
			t.Errorf("%s on %s: %v, want line 7 and %s", c.body, c.lacks, err, c.has)
		}
	}
}

// An mbarrier counts up to 2^20-1 arrivals and bytes, and no more arrivals come than a phase expects.
func TestMbarrierLimits(t *testing.T) {
	t.Parallel()
	const src = `.version 8.3
.target sm_90a
.address_size 64
.shared .align 8 .b8 bar[8];
.visible .entry k(.param .u64 k_param_0)
{
.reg .pred %p; .reg .b32 %r<4>; .reg .b64 %z<4>;
mov.u32 %r0, bar;
BODY
ret;
}`
	start := func(count string) string {
		return "mbarrier.init.shared::cta.b64 [%r0], " + count + "; fence.mbarrier_init.release.cluster; "
	}
	for _, c := range []struct{ name, body, want string }{
		{"a count of 1", start("1") + "mbarrier.arrive.shared::cta.b64 _, [%r0];", ""},
		{"a count of 0", start("0"), "count 0, want 1 to 1048575"},
		{"the largest count", start("1048575"), ""},
		{"a larger count", start("1048576"), "count 1048576, want 1 to 1048575"},
		{"more arrivals than are pending", start("2") + "mbarrier.arrive.shared::cta.b64 _, [%r0], 3;", "3 arrivals at the mbarrier"},
		{"no arrivals", start("2") + "mbarrier.arrive.noComplete.shared::cta.b64 _, [%r0], 0;", "0 arrivals at the mbarrier"},
		{"a phase completed by .noComplete", start("1") + "mbarrier.arrive.noComplete.shared::cta.b64 _, [%r0], 1;", ".noComplete completed a phase"},
		{"the largest transaction", start("1") + "mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%r0], 1048575;", ""},
		{"a larger transaction", start("1") + "mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%r0], 1048575; mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%r0], 1;", "transaction count out of range"},
		{"more bytes than a count holds", start("1") + "mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [%r0], 1048575; mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [%r0], 1;", "transaction count out of range"},
		{"a parity of 2", start("1") + "mbarrier.test_wait.parity.shared::cta.b64 %p, [%r0], 2;", "parity 2, want 0 or 1"},
		{"arrivals of copies beyond the count", start("1048575") + "cp.async.mbarrier.arrive.shared::cta.b64 [%r0];", "more than 1048575 arrivals pending"},
		{"no initialisation", "mbarrier.arrive.shared::cta.b64 _, [%r0];", "no mbarrier was initialised"},
	} {
		d := NewHopperDriver(1<<20, 1)
		err := runKernel(d, strings.Replace(src, "BODY", c.body, 1), 1, binary.LittleEndian.AppendUint64(nil, 0))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
