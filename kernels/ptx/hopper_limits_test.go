package ptx

import (
	"strings"
	"testing"
)

// What the interpreter does not execute is refused when a module is loaded, with the line and the reason.
func TestHopperRefusals(t *testing.T) {
	const frame = `.version 8.3
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 k_param_0) HEAD
{
.reg .pred %p; .reg .b32 %r<8>; .reg .f32 %f<8>; .reg .b64 %z<8>;
BODY
ret;
}`
	for _, c := range []struct{ head, body, want string }{
		{".reqnctapercluster 2, 1, 1", "", "clusters of more than one block are not supported"},
		{".reqnctapercluster 1, 1, 1", "", ""},
		{".explicitcluster", "", ""},
		{"", "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%r1], [%z1, {%r2, %r3}], [%r4], %r5;", "multicast to a cluster is not supported"},
		{"", "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%z1, {%r2}], [%r4];", "1 coordinates for 2 dimensions"},
		{"", "cp.async.bulk.tensor.2d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%r1], [%z1, {%r2, %r3}], [%r4];", `".im2col" is not known`},
		{"", "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%r1], [%z1, {%r2, %r3}], [%r4], %z2;", ""},
		{"", "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%r1], [%r2], 16, [%r4];", "only global to shared memory"},
		{"", "cp.async.bulk.prefetch.tensor.2d.L2.global [%z1, {%r2, %r3}];", ""},
		{"", "wgmma.mma_async.sync.aligned.m64n12k16.f32.bf16.bf16 {%f1}, %z1, %z2, %p, 1, 1, 0, 0;", "N a multiple of 8"},
		{"", "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%f1, %f2, %f3, %f4}, %z1, %z2, %p, 1, 1, 0, 0;", "want .f32.bf16.bf16"},
		{"", "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f1, %f2, %f3}, %z1, %z2, %p, 1, 1, 0, 0;", "3 accumulators, want 4"},
		{"", "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f1, %f2, %f3, %f4}, %z1, %z2, %p, 2, 1, 0, 0;", "operand 5"},
		{"", "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f1, %f2, %f3, %f4}, %z1, %z2, %p, 1, 1, 0;", "7 operands, want 8"},
		{".maxntid 128, 1, 1", "setmaxnreg.inc.sync.aligned.u32 100;", "multiple of 8"},
		{".maxntid 128, 1, 1", "setmaxnreg.dec.sync.aligned.u32 16;", "from 24 to 256"},
		{".maxntid 128, 1, 1", "setmaxnreg.inc.sync.aligned.u32 264;", "from 24 to 256"},
		{".maxntid 128, 1, 1", "setmaxnreg.dec.sync.aligned.u32 %r1;", "want a literal"},
		{".maxnreg 128", "setmaxnreg.dec.sync.aligned.u32 40;", ""},
		{"", "setmaxnreg.dec.sync.aligned.u32 40;", "the kernel wants .maxnreg, .maxntid or .reqntid"},
		{"", "mbarrier.arrive_drop.shared::cta.b64 _, [%r1];", "not known"},
		{"", "mbarrier.init.shared::cta.b64 [%r1];", "1 operands, want 2"},
		{"", "fence.proxy.tensormap::generic.release.gpu;", "only .proxy.async"},
		{"", "fence.acq_rel;", "want a scope"},
	} {
		_, err := NewHopperDriver(1<<20, 1).Load("test", strings.Replace(strings.Replace(frame, "HEAD", c.head, 1), "BODY", c.body, 1))
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s%s: %v", c.head, c.body, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "line ")):
			t.Errorf("%s%s: %v, want a line and %q", c.head, c.body, err, c.want)
		}
	}
}
