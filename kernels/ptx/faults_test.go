package ptx_test

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dino-mx/dmx/kernels/ptx"
)

// fault is one mistake in the small product kernel of testdata: the nth match of a pattern, replaced, with what the
// sanitizer must say on every one of the schedules. Text that must be part of the finding may follow.
type fault struct {
	name    string
	pattern string
	nth     int
	replace string
	kinds   []ptx.Kind
	says    string
}

func kinds(k ...ptx.Kind) []ptx.Kind { return k }

const tryWait = `again:\s+mbarrier\.try_wait[^;]*;\s+@done bra\.uni over;\s+bra\.uni again;`

var hopperFaults = []fault{
	// mbarriers
	{"the producer does not wait for a free stage", tryWait, 1, "", kinds(ptx.AsyncReuse, ptx.AsyncRace, ptx.BadMbarrier), ""},
	{"consumers do not wait for a full stage", tryWait, 2, "", kinds(ptx.AsyncRace, ptx.Uninitialised, ptx.Race), ""},
	{"consumers go on when the wait gives up", `(again:\s+mbarrier\.try_wait[^;]*;\s+@done bra\.uni over;)\s+bra\.uni again;`, 2, "$1", kinds(ptx.AsyncRace, ptx.Uninitialised), ""},
	{"fewer bytes expected than come", `mov\.b32(\s+%r\d+), 24576;`, 1, "mov.b32$1, 24560;", kinds(ptx.Deadlock, ptx.AsyncRace, ptx.BadMbarrier), ""},
	{"more bytes expected than come", `mov\.b32(\s+%r\d+), 24576;`, 1, "mov.b32$1, 24592;", kinds(ptx.Deadlock), "transaction count 16"},
	{"a stage is never given back", `mbarrier\.arrive\.shared::cta\.b64 _, \[%r\d+\];`, 1, "", kinds(ptx.Deadlock), "2 of 2 arrivals pending"},
	{"a stage is given back by one consumer of two", `(mbarrier\.init\.shared::cta\.b64 \[%r\d+\]), 2;`, 1, "$1, 1;", kinds(ptx.AsyncReuse, ptx.AsyncRace, ptx.BadMbarrier), ""},
	{"a third consumer is expected", `(mbarrier\.init\.shared::cta\.b64 \[%r\d+\]), 2;`, 1, "$1, 3;", kinds(ptx.Deadlock), "1 of 3 arrivals pending"},
	{"the producer waits for the wrong parity", `not\.b32(\s+%r\d+, %r\d+);`, 1, "mov.b32$1;", kinds(ptx.Deadlock), "2 of 2 arrivals pending"},
	{"consumers wait for the next stage's barrier", `(mbarrier\.try_wait\.parity\.shared::cta\.b64 done, \[%r\d+)\]`, 2, "$1+8]", kinds(ptx.AsyncRace, ptx.Uninitialised, ptx.BadMbarrier, ptx.Deadlock), ""},
	{"an mbarrier is not initialised", `mbarrier\.init\.shared::cta\.b64 \[%r\d+\], 1;`, 1, "", kinds(ptx.BadMbarrier), "no mbarrier was initialised"},
	{"an mbarrier is initialised twice", `(mbarrier\.init\.shared::cta\.b64 \[%r\d+\], 1;)`, 1, "$1 $1", kinds(ptx.BadMbarrier), "mbarrier.inval comes first"},
	{"an mbarrier is read by a plain load", `(fence\.mbarrier_init\.release\.cluster;)`, 1, "$1 ld.shared.u32 %r124, [_ZZ11hopper_gemmE4bars];", kinds(ptx.BadMbarrier), "plain access"},
	{"no barrier after the initialisation", `bar\.sync(\s+)0;`, 1, "", kinds(ptx.Race, ptx.BadMbarrier), ""},
	{"no fence after the initialisation", `fence\.mbarrier_init\.release\.cluster;`, 1, "", kinds(ptx.MissingFence), "fence.mbarrier_init"},
	{"a consumer arrives as every thread", `@%p4 bra`, 1, "bar.warp.sync -1; // ", kinds(ptx.BadMbarrier), "could go on"},
	// copies
	{"every lane asks for the copies", `selp\.b32 (%r\d+), 1, 0, p;`, 1, "mov.b32 $1, 1;", kinds(ptx.BadMbarrier, ptx.AsyncRace), ""},
	{"the target is not aligned", `add\.s32(\s+%r\d+, %r\d+), 16384;\s+// begin inline asm\s+cp`, 1, "add.s32$1, 16448; cp", kinds(ptx.Misaligned), ""},
	{"the target of b overlaps a", `add\.s32(\s+%r\d+, %r\d+), 16384;\s+// begin inline asm\s+cp`, 1, "add.s32$1, 8192; cp", kinds(ptx.AsyncRace), "written before the bulk copy"},
	{"the map is not one", `\[%rd32, `, 1, "[%rd33+64, ", kinds(ptx.BadOperand), "no tensor map"},
	{"the results leave with no proxy fence", `fence\.proxy\.async\.shared::cta;`, 1, "", kinds(ptx.MissingFence), "fence.proxy.async"},
	{"the results leave before all are written", `bar\.sync\s+%r\d+, 128;`, 1, "", kinds(ptx.Race, ptx.Uninitialised), ""},
	{"the store is not waited for", `cp\.async\.bulk\.wait_group 0;`, 1, "", kinds(ptx.AsyncReuse), "no wait for the bulk store"},
	{"the store is not committed", `cp\.async\.bulk\.commit_group;`, 1, "", kinds(ptx.AsyncReuse), "no wait for the bulk store"},
	{"the results overwrite the ring", `add\.s32(\s+%r\d+, %r\d+), 73728;`, 1, "add.s32$1, 0;", kinds(ptx.AsyncReuse, ptx.AsyncRace, ptx.Race), ""},
	{"the block ends before the last copy", `setp\.eq\.s32(\s+%p\d+), %r17, %r152;`, 1, "setp.eq.s32$1, 2, %r152;", kinds(ptx.AsyncRace, ptx.Deadlock), ""},
	// products
	{"no wgmma.fence", `wgmma\.fence\.sync\.aligned;`, 1, "", kinds(ptx.MissingFence), "no wgmma.fence since"},
	{"a stage is given back before its products are done", `wgmma\.wait_group\.sync\.aligned 0;`, 1, "wgmma.wait_group.sync.aligned 1;", kinds(ptx.AsyncReuse, ptx.AsyncRegister), ""},
	{"the products are not committed", `wgmma\.commit_group\.sync\.aligned;`, 1, "", kinds(ptx.AsyncRegister), "until wgmma.wait_group"},
	{"an accumulator is used before the wait", `(wgmma\.commit_group\.sync\.aligned;)`, 1, "$1 add.f32 %f450, %f450, %f450;", kinds(ptx.AsyncRegister), "%f450"},
	{"an accumulator is changed after the fence", `(wgmma\.fence\.sync\.aligned;)`, 1, "$1 add.f32 %f450, %f450, %f450;", kinds(ptx.MissingFence), "%f450"},
	{"one warp of a warpgroup stays away", `setp\.gt\.u32(\s+%p2, %r1), 127;`, 1, "setp.gt.u32$1, 159;", kinds(ptx.BadWarpgroup, ptx.Deadlock), ""},
	{"the warps of a warpgroup have other descriptors", `shl\.b32(\s+%r47), %r2, 13;`, 1, "shl.b32$1, %r2, 13; and.b32 %r48, %r1, 32; shl.b32 %r48, %r48, 4; add.s32 %r47, %r47, %r48;", kinds(ptx.BadWarpgroup), "other descriptors"},
	{"the lanes have other descriptors", `(or\.b64\s+%rd11, %rd19), 4611686293305360384;`, 1, "cvt.u64.u32 %rd11, %r149; or.b64 %rd19, %rd19, %rd11; $1, 4611686293305360384;", kinds(ptx.BadOperand), "that of lane 0"},
	{"a descriptor past the end", `(or\.b64\s+%rd11, %rd19), 4611686293305360384;`, 1, "$1, 4611686293305368576;", kinds(ptx.OutOfBounds, ptx.Uninitialised), ""},
	{"a base offset", `(or\.b64\s+%rd11, %rd19), 4611686293305360384;`, 1, "$1, 4612812193212203008;", kinds(ptx.BadOperand), "base offset 2"},
	// registers
	{"more registers than there are", `setmaxnreg\.inc\.sync\.aligned\.u32 232;`, 1, "setmaxnreg.inc.sync.aligned.u32 240;", kinds(ptx.Deadlock), "registers of a pool"},
	{"fewer registers than the warp has", `setmaxnreg\.inc\.sync\.aligned\.u32 232;`, 1, "setmaxnreg.inc.sync.aligned.u32 160;", kinds(ptx.BadOperand), "the warp has 168"},
	{"a warp that keeps its registers", `(setmaxnreg\.dec\.sync\.aligned\.u32 40;)`, 1, "setp.gt.u32 %p8, %r1, 31; @%p8 bra $$L__BB0_11; $1", kinds(ptx.BadWarpgroup, ptx.Deadlock), ""},
	// named barriers
	{"a named barrier for too many", `(bar\.sync\s+%r\d+), 128;`, 1, "$1, 256;", kinds(ptx.Deadlock), "bar.sync"},
	{"both consumers on one barrier", `bar\.sync(\s+)%r\d+, 128;`, 1, "bar.sync${1}1, 128;", kinds(ptx.Race, ptx.Uninitialised, ptx.BadBarrier), ""},
}

// TestHopperFaults makes one fault at a time in the product kernel. Each must be found, and named right, on each of
// three schedules.
func TestHopperFaults(t *testing.T) {
	t.Parallel()
	shape := gemmShape{128, 64, 512}
	shown := make([]verdict, len(hopperFaults))
	for i, f := range hopperFaults {
		t.Run(f.name, func(t *testing.T) {
			re := regexp.MustCompile(f.pattern)
			found := re.FindAllStringSubmatchIndex(hopperGemm, -1)
			if len(found) < f.nth {
				t.Fatalf("%d matches of %q, want %d", len(found), f.pattern, f.nth)
			}
			at := found[f.nth-1]
			src := hopperGemm[:at[0]] + string(re.ExpandString(nil, f.replace, hopperGemm, at)) + hopperGemm[at[1]:]
			for seed := uint64(1); seed <= 3; seed++ {
				_, _, _, _, err := runHopperGemm(t, src, shape, seed)
				if err := f.check(err); err != nil {
					t.Errorf("schedule %d: %v", seed, err)
					continue
				}
				shown[i] = verdict{fault: f.name, kernel: "hopper_gemm"}
				errors.As(err, &shown[i].findings)
			}
		})
	}
	faultFigures("Faults in a product kernel for Hopper", "One fault at a time in a small kernel written for this, each found on three schedules and under a name that fits", shown)
}

// check reports how err is not what the fault must lead to.
func (f *fault) check(err error) error {
	var all ptx.Findings
	if !errors.As(err, &all) {
		return fmt.Errorf("no finding: %v", err)
	}
	for _, x := range all {
		if slices.Contains(f.kinds, x.Kind) && strings.Contains(x.Error(), f.says) {
			return nil
		}
	}
	return fmt.Errorf("want a finding of %q with %q, got\n%.1500v", f.kinds, f.says, all)
}
