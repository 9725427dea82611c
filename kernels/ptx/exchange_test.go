package ptx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// exchangeKernel hands 32 words from warp 0 to warp 1 (or, with 32 threads, to the warp itself) through shared memory,
// ordered by nothing but an mbarrier.
const exchangeKernel = `.version 8.3
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 k_param_0)
{
.reg .pred %p, %one; .reg .b32 %r<8>; .reg .b64 %out, %z;
.shared .align 8 .b8 box[128]; .shared .align 8 .b8 bar[8];
mov.u32 %r0, %tid.x; and.b32 %r1, %r0, 31; mov.u32 %r2, bar; setp.eq.u32 %one, %r0, 0;
@%one mbarrier.init.shared::cta.b64 [%r2], COUNT;
bar.sync 0;
setp.eq.u32 %one, %r1, 0; shl.b32 %r3, %r1, 2; mov.u32 %r4, box; add.s32 %r5, %r4, %r3; xor.b32 %r3, %r3, 12; add.s32 %r6, %r4, %r3;
mov.u32 %r7, %ntid.x; setp.eq.u32 %p, %r7, 32; @%p bra $write; setp.gt.u32 %p, %r0, 31; @%p bra $read;
$write:
WRITE
setp.eq.u32 %p, %r7, 64; @%p bra $end;
$read:
READ
ld.shared.u32 %r4, [%r6];
ld.param.u64 %out, [k_param_0]; mul.wide.u32 %z, %r1, 4; add.s64 %out, %out, %z; st.global.u32 [%out], %r4;
$end: ret;
}`

func TestMbarrierOrders(t *testing.T) {
	const (
		put     = "st.shared.u32 [%r5], %r1;\n"
		arrive  = "mbarrier.arrive.shared::cta.b64 _, [%r2];\n"
		wait    = "$w: mbarrier.try_wait.parity.shared::cta.b64 %p, [%r2], 0; @!%p bra $w;\n"
		oneWait = "@!%one bra $over; $w: mbarrier.try_wait.parity.shared::cta.b64 %p, [%r2], 0; @!%p bra $w; $over:\n"
		syncs   = "bar.warp.sync -1;\n"
	)
	for _, c := range []struct {
		name        string
		count       int
		write, read string
		threads     int
		want        []Kind // any of them; none for a sound kernel
	}{
		{"every thread arrives and waits", 32, put + arrive, wait, 64, nil},
		{"inside one warp", 32, put + arrive, wait, 32, nil},
		{"inside one warp, nothing waited for", 32, put + arrive, "", 32, []Kind{Race}},
		{"not waited for", 32, put + arrive, "", 64, []Kind{Race}},
		{"arrives before it writes", 32, arrive + put, wait, 64, []Kind{Race}},
		{"a relaxed arrival", 32, put + "mbarrier.arrive.relaxed.cta.shared::cta.b64 _, [%r2];\n", wait, 64, []Kind{Race}},
		{"a relaxed wait", 32, put + arrive, strings.Replace(wait, "parity", "parity.relaxed.cta", 1), 64, []Kind{Race}},
		{"one lane arrives for a warp that is together", 1, put + syncs + "@%one " + arrive, wait, 64, nil},
		{"one lane arrives for a warp that is not", 1, put + "@%one " + arrive, wait, 64, []Kind{Race}},
		{"one lane waits and the warp comes together", 32, put + arrive, oneWait + syncs, 64, nil},
		{"one lane waits", 32, put + arrive, oneWait, 64, []Kind{Race}},
		{"the wrong phase", 32, put + arrive, strings.Replace(wait, "[%r2], 0", "[%r2], 1", 1), 64, []Kind{Race, Deadlock}},
	} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprint(c.name, "/schedule ", seed), func(t *testing.T) {
				d := NewHopperDriver(1<<20, seed)
				out, err := d.Alloc(128)
				if err != nil {
					t.Fatal(err)
				}
				src := strings.NewReplacer("COUNT", fmt.Sprint(c.count), "WRITE", c.write, "READ", c.read).Replace(exchangeKernel)
				err = runKernel(d, src, c.threads, binary.LittleEndian.AppendUint64(nil, out))
				if c.want != nil {
					var all Findings
					if !errors.As(err, &all) {
						t.Fatalf("no finding: %v", err)
					}
					for _, f := range all {
						if slices.Contains(c.want, f.Kind) {
							return
						}
					}
					t.Fatalf("want a finding of %q, got %v", c.want, err)
				}
				if err != nil {
					t.Fatal(err)
				}
				got := make([]byte, 128)
				if err := d.CopyOut(got, out); err != nil {
					t.Fatal(err)
				}
				for i := range 32 {
					if v := binary.LittleEndian.Uint32(got[4*i:]); v != uint32(i^3) {
						t.Errorf("lane %d read %d", i, v)
					}
				}
			})
		}
	}
}
