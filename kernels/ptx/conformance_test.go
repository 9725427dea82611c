package ptx

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/ptx/syntax"
)

// alu is the conformance table of instructions on registers: the opcode, the types of its destination and sources
// (pred, 16, 32, 64 or f for f32), and cases "sources = result". Numbers with a point, inf and nan are f32;
// negative ones are two's complement. Expected values follow the PTX ISA manual and were worked out by hand.
var alu = []struct{ op, types, cases string }{
	{"abs.f32", "f f", "-1.5 = 1.5; 2.0 = 2.0; -0.0 = 0.0; -inf = inf"},
	{"neg.f32", "f f", "-1.5 = 1.5; 0.0 = -0.0; inf = -inf"},
	{"neg.s32", "32 32", "5 = -5; 0x80000000 = 0x80000000; -1 = 1"},
	{"add.f32", "f f f", "1.5 2.25 = 3.75; 16777216.0 1.0 = 16777216.0; inf -inf = nan; 0.1 0.2 = 0x3e99999a"},
	{"sub.f32", "f f f", "1.5 2.25 = -0.75; inf inf = nan; 1.0 1.0 = 0.0"},
	{"mul.f32", "f f f", "1.5 -2.0 = -3.0; 0.0 inf = nan; 3.0e38 10.0 = inf"},
	{"div.rn.f32", "f f f", "1.0 3.0 = 0x3eaaaaab; 1.0 0.0 = inf; -1.0 0.0 = -inf; 0.0 0.0 = nan"},
	{"rcp.rn.f32", "f f", "3.0 = 0x3eaaaaab; 0.0 = inf; -4.0 = -0.25"},
	{"sqrt.rn.f32", "f f", "2.0 = 0x3fb504f3; 9.0 = 3.0; -1.0 = nan; 0.0 = 0.0"},
	{"max.f32", "f f f", "1.0 2.0 = 2.0; nan 2.0 = 2.0; 2.0 nan = 2.0; nan nan = nan; -inf -5.0 = -5.0"},
	{"fma.rn.f32", "f f f f", "2.0 3.0 4.0 = 10.0; 0x3f800800 0x3f800800 0xbf801000 = 0x33800000; inf 0.0 1.0 = nan"},
	{"ex2.approx.ftz.f32", "f f", "0.0 = 1.0; -0.0 = 1.0; 0x80000001 = 1.0; -inf = 0.0; 200.0 = inf; -127.0 = 0.0; nan = nan"},
	{"lg2.approx.ftz.f32", "f f", "0.0 = -inf; -0.0 = -inf; 0x007fffff = -inf; 0x80000001 = -inf; -1.0 = nan; inf = inf; nan = nan"},
	// Subnormals: flushed with .ftz, as arguments and as results, with the sign kept.
	{"add.ftz.f32", "f f f", "0x00000001 0x00000001 = 0.0; 0x80000001 -0.0 = -0.0; 0x00800001 0x80800000 = 0.0; 1.5 2.25 = 3.75"},
	{"add.f32", "f f f", "0x00000001 0x00000001 = 0x00000002"},
	{"sub.ftz.f32", "f f f", "0x80800001 0x80800000 = -0.0; 0x00000005 0.0 = 0.0"},
	{"mul.ftz.f32", "f f f", "0x00800000 0.5 = 0.0; 0x80800000 0.5 = -0.0; 0x007fffff 4.0 = 0.0"},
	{"mul.f32", "f f f", "0x00800000 0.5 = 0x00400000"},
	{"fma.rn.ftz.f32", "f f f f", "0x00800000 0.5 0.0 = 0.0; 1.0 1.0 0x00000001 = 1.0; 0x00400000 4.0 1.0 = 1.0"},
	{"div.rn.ftz.f32", "f f f", "1.0 0x00000001 = inf; 0x00800000 2.0 = 0.0"},
	{"rcp.rn.ftz.f32", "f f", "0x00400000 = inf; 0x80400000 = -inf; 0x7f000001 = 0.0"},
	{"sqrt.rn.ftz.f32", "f f", "0x00400000 = 0.0; 0x80400000 = -0.0"},
	{"max.ftz.f32", "f f f", "0x00000001 -1.0 = 0.0; 0x00000001 0.0 = 0.0"},
	{"min.ftz.f32", "f f f", "0x80000001 1.0 = -0.0"},
	{"neg.ftz.f32", "f f", "0x00000001 = -0.0; 1.0 = -1.0"},
	{"abs.ftz.f32", "f f", "0x80000001 = 0.0"},
	{"setp.gt.ftz.f32", "pred f f", "0x00000001 0.0 = 0; 1.0 0.0 = 1"},
	{"setp.gt.f32", "pred f f", "0x00000001 0.0 = 1"},
	{"set.ne.ftz.u32.f32", "32 f f", "0x00000001 0.0 = 0; 1.0 0.0 = 0xffffffff"},
	{"cvt.rpi.ftz.s32.f32", "32 f", "0x00000001 = 0; 0.5 = 1"},
	{"cvt.rpi.s32.f32", "32 f", "0x00000001 = 1"},
	{"cvt.sat.ftz.f32.f32", "f f", "0x00000001 = 0.0; 2.0 = 1.0; -1.0 = 0.0; nan = 0.0"},
	{"rcp.approx.ftz.f32", "f f", "0.0 = inf; -0.0 = -inf; 0x00000001 = inf; 0x80000001 = -inf; inf = 0.0; -inf = -0.0; nan = nan"},
	{"rsqrt.approx.ftz.f32", "f f", "0.0 = inf; -0.0 = -inf; 0x007fffff = inf; 0x80000001 = -inf; inf = 0.0; -1.0 = nan; -inf = nan"},
	{"sqrt.approx.ftz.f32", "f f", "0.0 = 0.0; -0.0 = -0.0; 0x007fffff = 0.0; 0x80000001 = -0.0; inf = inf; -1.0 = nan"},
	{"div.approx.f32", "f f f", "1.0 0x7f000000 = 0.0; inf 0x7f000000 = nan; 1.0 0.0 = inf; 1.0 inf = 0.0"},
	// A NaN that is computed is 0x7fffffff, in bf16 0x7fff; of an integer it is 0, or the highest bit of 64.
	{"max.NaN.f32", "f f f", "1.0 nan = 0x7fffffff; nan 1.0 = 0x7fffffff; 1.0 2.0 = 2.0"},
	{"min.NaN.f32", "f f f", "0xffc12345 1.0 = 0x7fffffff"},
	{"min.f32", "f f f", "0xffc12345 1.0 = 1.0; 0xffc12345 0x7fc00001 = 0x7fffffff; -0.0 0.0 = -0.0"},
	{"mul.f32", "f f f", "0xffc12345 1.0 = 0x7fffffff"},
	{"cvt.rn.bf16x2.f32", "32 f f", "0xffc12345 1.0 = 0x7fff3f80"},
	{"cvt.rn.relu.bf16x2.f32", "32 f f", "0xffc12345 -1.0 = 0x7fff0000; -0.0 2.0 = 0x00004000"},
	{"cvt.rn.bf16.f32", "16 f", "nan = 0x7fff; 1.0 = 0x3f80"},
	{"cvt.rzi.s32.f32", "32 f", "nan = 0; inf = 0x7fffffff; -inf = 0x80000000"},
	{"cvt.rzi.u32.f32", "32 f", "nan = 0; inf = 0xffffffff; -1.0 = 0"},
	{"cvt.rzi.s64.f32", "64 f", "nan = 0x8000000000000000; inf = 0x7fffffffffffffff"},
	{"cvt.rzi.u64.f32", "64 f", "nan = 0x8000000000000000; inf = 0xffffffffffffffff"},
	{"add.s16", "16 16 16", "5 -3 = 2; 0x7fff 1 = 0x8000"},
	{"sub.s16", "16 16 16", "5 -3 = 8; 0x8000 1 = 0x7fff"},
	{"mul.lo.s16", "16 16 16", "300 300 = 0x5f90; -2 3 = -6"},
	{"mul.hi.u16", "16 16 16", "0xffff 0xffff = 0xfffe; 256 256 = 1"},
	{"mul.wide.u16", "32 16 16", "0xffff 0xffff = 0xfffe0001; 3 4 = 12"},
	{"add.s32", "32 32 32", "5 -7 = -2; 0x7fffffff 1 = 0x80000000"},
	{"add.s64", "64 64 64", "5 -7 = -2; 0xffffffff 1 = 0x100000000"},
	{"add.u64", "64 64 64", "0xffffffffffffffff 2 = 1; 7 8 = 15"},
	{"sub.s32", "32 32 32", "5 7 = -2; 0x80000000 1 = 0x7fffffff"},
	{"sub.s64", "64 64 64", "5 7 = -2; 0x100000000 1 = 0xffffffff"},
	{"mul.lo.s32", "32 32 32", "-3 7 = -21; 0x10000 0x10000 = 0"},
	{"mul.lo.s64", "64 64 64", "-3 7 = -21; 0x100000000 3 = 0x300000000"},
	{"mul.hi.s32", "32 32 32", "-1 1 = -1; 0x10000 0x10000 = 1; -65536 0x10000 = -1"},
	{"mul.hi.u32", "32 32 32", "0xffffffff 0xffffffff = 0xfffffffe; 0x10000 0x10000 = 1"},
	{"mul.wide.s32", "64 32 32", "-3 7 = -21; 0x7fffffff 4 = 0x1fffffffc"},
	{"mul.wide.u32", "64 32 32", "0xffffffff 2 = 0x1fffffffe; 3 7 = 21"},
	{"mad.lo.s32", "32 32 32 32", "3 -4 5 = -7; 0x10000 0x10000 9 = 9"},
	{"div.s32", "32 32 32", "-7 2 = -3; 7 -2 = -3; 100 7 = 14"},
	{"div.s64", "64 64 64", "-7 2 = -3; 0x300000000 3 = 0x100000000"},
	{"div.u32", "32 32 32", "0xffffffff 2 = 0x7fffffff; 7 8 = 0"},
	{"rem.s32", "32 32 32", "-7 2 = -1; 7 -2 = 1; 100 7 = 2"},
	{"max.s32", "32 32 32", "-5 3 = 3; -5 -9 = -5"},
	{"max.u32", "32 32 32", "0xfffffffb 3 = 0xfffffffb; 5 9 = 9"},
	{"min.s32", "32 32 32", "-5 3 = -5; 8 3 = 3"},
	{"and.b16", "16 16 16", "0xff0f 0x0fff = 0x0f0f"},
	{"or.b16", "16 16 16", "0xf000 0x000f = 0xf00f"},
	{"and.b32", "32 32 32", "0xff00ff00 0x0ff00ff0 = 0x0f000f00"},
	{"or.b32", "32 32 32", "0xff000000 0x000000ff = 0xff0000ff"},
	{"xor.b32", "32 32 32", "0xff00ff00 0xffffffff = 0x00ff00ff"},
	{"and.b64", "64 64 64", "0xff00000000 0xf0ffffffff = 0xf000000000"},
	{"or.b64", "64 64 64", "0xff00000000 1 = 0xff00000001"},
	{"xor.b64", "64 64 64", "0xff00000001 1 = 0xff00000000"},
	{"and.pred", "pred pred pred", "1 1 = 1; 1 0 = 0"},
	{"or.pred", "pred pred pred", "0 0 = 0; 1 0 = 1"},
	{"xor.pred", "pred pred pred", "1 1 = 0; 1 0 = 1"},
	{"not.pred", "pred pred", "1 = 0; 0 = 1"},
	{"not.b32", "32 32", "0 = 0xffffffff; 0xff00ff00 = 0xff00ff"},
	{"popc.b32", "32 32", "0 = 0; 0xff00ff01 = 17; 0xffffffff = 32"},
	{"mov.pred", "pred pred", "1 = 1; 0 = 0"},
	{"shl.b32", "32 32 32", "1 31 = 0x80000000; 3 33 = 0; 5 2 = 20"},
	{"shl.b64", "64 64 32", "1 63 = 0x8000000000000000; 1 64 = 0; 5 2 = 20"},
	{"shr.s32", "32 32 32", "-8 1 = -4; -8 40 = -1; 8 2 = 2"},
	{"shr.u16", "16 16 32", "0x8000 15 = 1; 0x8000 16 = 0"},
	{"shr.u32", "32 32 32", "0x80000000 31 = 1; 5 32 = 0"},
	{"shr.u64", "64 64 32", "0x8000000000000000 63 = 1; 5 64 = 0"},
	{"bfe.u32", "32 32 32 32", "0xabcd1234 8 8 = 0x12; 0xabcd1234 28 8 = 0xa; 0xffffffff 0 0 = 0"},
	{"cvt.rn.f32.s32", "f 32", "-3 = -3.0; 16777217 = 16777216.0"},
	{"cvt.rn.f32.u32", "f 32", "0xffffffff = 4294967296.0; 7 = 7.0"},
	{"cvt.s64.s32", "64 32", "-3 = -3; 7 = 7"},
	{"cvt.u16.u32", "16 32", "0x12345678 = 0x5678"},
	{"cvt.u32.u16", "32 16", "0xffff = 0xffff"},
	{"cvt.u32.u64", "32 64", "0x1234567890 = 0x34567890"},
	{"cvt.u64.u16", "64 16", "0xffff = 0xffff"},
	{"cvt.u64.u32", "64 32", "0xffffffff = 0xffffffff"},
	{"cvt.rn.bf16x2.f32", "32 f f", "1.0 2.0 = 0x3f804000; 0x3f808000 0x3f818000 = 0x3f803f82; -inf 0.0 = 0xff800000"},
	{"mov.f32", "f f", "1.5 = 1.5"},
	{"mov.u32", "32 32", "0xdeadbeef = 0xdeadbeef"},
	{"mov.u64", "64 64", "0xdeadbeefdeadbeef = 0xdeadbeefdeadbeef"},
	{"mov.b32", "32 f", "1.0 = 0x3f800000"},
	{"mov.b64", "64 64", "5 = 5"},
	{"selp.u16", "16 16 16 pred", "5 6 1 = 5; 5 6 0 = 6"},
	{"selp.u32", "32 32 32 pred", "5 6 1 = 5; 5 6 0 = 6"},
	{"selp.b32", "32 32 32 pred", "5 6 1 = 5; 5 6 0 = 6"},
	{"selp.u64", "64 64 64 pred", "5 0x600000000 1 = 5; 5 0x600000000 0 = 0x600000000"},
	{"selp.b64", "64 64 64 pred", "5 6 1 = 5; 5 6 0 = 6"},
	{"selp.f32", "f f f pred", "5.0 6.0 1 = 5.0; 5.0 6.0 0 = 6.0"},
	{"setp.eq.b32", "pred 32 32", "5 5 = 1; 5 6 = 0"},
	{"setp.eq.b64", "pred 64 64", "5 5 = 1; 0x100000005 5 = 0"},
	{"setp.eq.s32", "pred 32 32", "-5 -5 = 1; 5 -5 = 0"},
	{"setp.eq.s64", "pred 64 64", "-5 -5 = 1; 5 -5 = 0"},
	{"setp.eq.f32", "pred f f", "0.0 -0.0 = 1; nan nan = 0; 1.0 2.0 = 0"},
	{"setp.ge.s32", "pred 32 32", "-5 -5 = 1; -6 -5 = 0; 5 -5 = 1"},
	{"setp.ge.s64", "pred 64 64", "-5 -5 = 1; -6 -5 = 0"},
	{"setp.gt.s32", "pred 32 32", "5 -5 = 1; 5 5 = 0"},
	{"setp.gt.u32", "pred 32 32", "-5 5 = 1; 5 5 = 0"},
	{"setp.le.s32", "pred 32 32", "-5 5 = 1; 6 5 = 0"},
	{"setp.lt.s32", "pred 32 32", "-5 5 = 1; 5 5 = 0"},
	{"setp.lt.s64", "pred 64 64", "-5 5 = 1; 5 5 = 0"},
	{"setp.lt.u32", "pred 32 32", "-5 5 = 0; 4 5 = 1"},
	{"setp.ne.s32", "pred 32 32", "5 5 = 0; 5 -5 = 1"},
	{"setp.ne.s64", "pred 64 64", "5 5 = 0; 5 -5 = 1"},
	{"setp.ge.f32", "pred f f", "2.0 2.0 = 1; nan 2.0 = 0; 1.0 2.0 = 0"},
	{"setp.neu.f32", "pred f f", "0.0 -0.0 = 0; 1.0 2.0 = 1; nan 1.0 = 1; nan nan = 1"},
	{"setp.geu.f32", "pred f f", "2.0 2.0 = 1; nan 2.0 = 1; 1.0 2.0 = 0"},
	{"setp.gt.f32", "pred f f", "3.0 2.0 = 1; nan 2.0 = 0; 2.0 2.0 = 0"},
	{"setp.leu.f32", "pred f f", "2.0 2.0 = 1; nan 2.0 = 1; 3.0 2.0 = 0"},
	{"setp.lt.f32", "pred f f", "1.0 2.0 = 1; nan 2.0 = 0; 2.0 2.0 = 0"},
	{"setp.ltu.f32", "pred f f", "1.0 2.0 = 1; nan 2.0 = 1; 2.0 2.0 = 0"},
	{"setp.nan.f32", "pred f f", "nan 2.0 = 1; 1.0 2.0 = 0"},
}

// programs are whole kernels for the instructions on memory, control and the warp: every lane t gets in[t] (u64)
// and writes out[t]. Lines are PTX; %l is the lane, %x its input, %y the output, %a and %b the addresses of its
// own input and output.
var programs = []struct {
	ops  string // the instructions this shows
	body string
	want func(t int, in [32]uint64) uint64
}{
	{"ld.global.u64 ld.param.u64 ret", "mov.u64 %y, %x;", func(t int, in [32]uint64) uint64 { return in[t] }},
	{"ld.global.u32 ld.global.u16 st.global.u32 st.global.u16", `st.global.u64 [%b], %x; ld.global.u32 %r1, [%a]; st.global.u32 [%b+4], %r1;
		ld.global.u16 %h1, [%a+6]; st.global.u16 [%b], %h1; ld.global.u64 %y, [%b];`,
		func(t int, in [32]uint64) uint64 { return in[t]<<32 | in[t]&0xffff0000 | in[t]>>48 }},
	{"ld.global.s32", "ld.global.s32 %y, [%a];", func(t int, in [32]uint64) uint64 { return uint64(int64(int32(in[t]))) }},
	{"ld.global.f32 st.global.f32", "ld.global.f32 %f1, [%a]; st.global.u64 [%b], %x; st.global.f32 [%b+4], %f1; ld.global.u64 %y, [%b];",
		func(t int, in [32]uint64) uint64 { return in[t]<<32 | in[t]&0xffffffff }},
	{"ld.global.v2.u32 st.global.v2.u32", "ld.global.v2.u32 {%r1, %r2}, [%a]; st.global.v2.u32 [%b], {%r2, %r1}; ld.global.u64 %y, [%b];",
		func(t int, in [32]uint64) uint64 { return in[t]<<32 | in[t]>>32 }},
	{"ld.global.v2.f32", "ld.global.v2.f32 {%f1, %f2}, [%a]; mov.b32 %r1, %f2; cvt.u64.u32 %y, %r1;", func(t int, in [32]uint64) uint64 { return in[t] >> 32 }},
	{"ld.global.v4.f32 st.global.v4.f32", `and.b64 %z, %a, -16; ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%z]; and.b64 %z, %b, -16; bar.warp.sync -1;
		and.b32 %r1, %l, 1; setp.eq.s32 %p1, %r1, 0; @%p1 st.global.v4.f32 [%z], {%f4, %f3, %f2, %f1}; bar.warp.sync -1; ld.global.u64 %y, [%b];`,
		func(t int, in [32]uint64) uint64 { return in[t^1]<<32 | in[t^1]>>32 }},
	{"ld.global.v4.u32", `and.b64 %z, %a, -16; ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%z]; xor.b32 %r1, %r1, %r3; mov.b64 %y, {%r1, %r4};`,
		func(t int, in [32]uint64) uint64 { return in[t|1]&^0xffffffff | (in[t&^1]^in[t|1])&0xffffffff }},
	{"st.global.v4.u32", `and.b64 %z, %b, -16; and.b32 %r1, %l, 1; setp.eq.s32 %p1, %r1, 0; @%p1 st.global.v4.u32 [%z], {%l, 7, 8, 9}; bar.warp.sync -1; ld.global.u64 %y, [%b];`,
		func(t int, in [32]uint64) uint64 {
			if t%2 == 0 {
				return 7<<32 | uint64(t)
			}
			return 9<<32 | 8
		}},
	{"ld.f32 st.f32", "ld.f32 %f1, [%a]; st.global.u64 [%b], %x; st.f32 [%b+4], %f1; ld.global.u64 %y, [%b];", func(t int, in [32]uint64) uint64 { return in[t]<<32 | in[t]&0xffffffff }},
	{"ld.u16 st.u16", "ld.u16 %h1, [%a+2]; st.global.u64 [%b], %x; st.u16 [%b], %h1; ld.global.u64 %y, [%b];", func(t int, in [32]uint64) uint64 { return in[t]&^0xffff | in[t]>>16&0xffff }},
	{"ld.v2.u32 st.v2.u32", "ld.v2.u32 {%r1, %r2}, [%a]; st.v2.u32 [%b], {%r2, %r1}; ld.global.u64 %y, [%b];", func(t int, in [32]uint64) uint64 { return in[t]<<32 | in[t]>>32 }},
	{"ld.v2.f32 st.global.v2.f32", "ld.v2.f32 {%f1, %f2}, [%a]; st.global.v2.f32 [%b], {%f2, %f1}; ld.global.u64 %y, [%b];", func(t int, in [32]uint64) uint64 { return in[t]<<32 | in[t]>>32 }},
	{"ld.v4.f32 st.v4.f32", `and.b64 %z, %a, -16; ld.v4.f32 {%f1, %f2, %f3, %f4}, [%z]; and.b64 %z, %b, -16; bar.warp.sync -1;
		and.b32 %r1, %l, 1; setp.eq.s32 %p1, %r1, 0; @%p1 st.v4.f32 [%z], {%f4, %f3, %f2, %f1}; bar.warp.sync -1; ld.global.u64 %y, [%b];`,
		func(t int, in [32]uint64) uint64 { return in[t^1]<<32 | in[t^1]>>32 }},
	{"mad.lo.s64", "mad.lo.s64 %y, %x, %x, -5;", func(t int, in [32]uint64) uint64 { return in[t]*in[t] - 5 }},
	{"ld.v4.u32", `and.b64 %z, %a, -16; ld.v4.u32 {%r1, %r2, %r3, %r4}, [%z]; xor.b32 %r1, %r1, %r3; mov.b64 %y, {%r1, %r4};`,
		func(t int, in [32]uint64) uint64 { return in[t|1]&^0xffffffff | (in[t&^1]^in[t|1])&0xffffffff }},
	{"ld.shared.u32", "shl.b32 %r1, %l, 2; mov.u32 %r2, box; add.s32 %r2, %r2, %r1; cvt.u32.u64 %r3, %x; st.shared.u32 [%r2], %r3; bar.sync 0; xor.b32 %r1, %r1, 28; mov.u32 %r2, box; add.s32 %r2, %r2, %r1; ld.shared.u32 %r4, [%r2]; cvt.u64.u32 %y, %r4;",
		func(t int, in [32]uint64) uint64 { return in[t^7] & 0xffffffff }},
	{"cvta.global.u64 cvta.to.global.u64", "cvta.global.u64 %z, %a; cvta.to.global.u64 %z, %z; ld.global.u64 %y, [%z];", func(t int, in [32]uint64) uint64 { return in[t] }},
	{"ld.param.u32 ld.param.s32 ld.param.f32 ld.param.v2.u32", `ld.param.u32 %r1, [k_param_2]; ld.param.s32 %y, [k_param_2]; ld.param.f32 %f1, [k_param_2];
		ld.param.v2.u32 {%r2, %r3}, [k_param_2]; mov.b32 %r4, %f1; xor.b32 %r1, %r1, %r4; add.s32 %r1, %r1, %r3; cvt.u64.u32 %z, %r1; add.s64 %y, %y, %z;`,
		func(t int, in [32]uint64) uint64 { return 72 }},
	{"st.local.u32 st.local.f32 ld.local.f32", "cvt.u32.u64 %r1, %x; st.local.u32 [scratch], %r1; mov.f32 %f1, 0f3F800000; st.local.f32 [scratch+4], %f1; ld.local.f32 %f2, [scratch]; mov.b32 %r2, %f2; cvt.u64.u32 %y, %r2;",
		func(t int, in [32]uint64) uint64 { return in[t] & 0xffffffff }},
	{"st.shared.u32 ld.shared.f32 bar.sync", "shl.b32 %r1, %l, 2; mov.u32 %r2, box; add.s32 %r2, %r2, %r1; cvt.u32.u64 %r3, %x; st.shared.u32 [%r2], %r3; bar.sync 0; xor.b32 %r1, %r1, 28; mov.u32 %r2, box; add.s32 %r2, %r2, %r1; ld.shared.f32 %f1, [%r2]; mov.b32 %r4, %f1; cvt.u64.u32 %y, %r4;",
		func(t int, in [32]uint64) uint64 { return in[t^7] & 0xffffffff }},
	{"st.shared.f32 ld.shared.v4.f32 bar.warp.sync", "shl.b32 %r1, %l, 2; mov.u32 %r2, box; add.s32 %r2, %r2, %r1; cvt.rn.f32.s32 %f1, %l; st.shared.f32 [%r2], %f1; bar.warp.sync -1; and.b32 %r2, %r2, -16; ld.shared.v4.f32 {%f1, %f2, %f3, %f4}, [%r2]; mov.b32 %r4, %f3; cvt.u64.u32 %y, %r4;",
		func(t int, in [32]uint64) uint64 { return uint64(math.Float32bits(float32(t&^3 + 2))) }},
	{"st.shared.v4.f32 ld.shared.v2.f32", "mov.u32 %r2, box; and.b64 %z, %a, -16; ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%z]; shl.b32 %r1, %l, 4; add.s32 %r1, %r2, %r1; st.shared.v4.f32 [%r1], {%f1, %f2, %f3, %f4}; bar.sync 0; xor.b32 %r1, %l, 2; shl.b32 %r1, %r1, 4; add.s32 %r1, %r2, %r1; ld.shared.v2.f32 {%f1, %f2}, [%r1+8]; mov.b32 %r3, %f1; mov.b32 %r4, %f2; mov.b64 %y, {%r3, %r4};",
		func(t int, in [32]uint64) uint64 { return in[t^2|1] }},
	{"st.shared.v2.f32 ld.shared.v4.u32", "shl.b32 %r1, %l, 3; mov.u32 %r2, box; add.s32 %r2, %r2, %r1; ld.global.v2.f32 {%f1, %f2}, [%a]; st.shared.v2.f32 [%r2], {%f1, %f2}; bar.sync 0; and.b32 %r2, %r2, -16; ld.shared.v4.u32 {%r3, %r4, %r5, %r6}, [%r2]; cvt.u64.u32 %y, %r6;",
		func(t int, in [32]uint64) uint64 { return in[t|1] >> 32 }},
	{"bra bra.uni", "setp.lt.s32 %p1, %l, 9; mov.u64 %y, 1; @%p1 bra $less; mov.u64 %y, 2; bra.uni $end; $less: add.s64 %y, %y, 4; $end: add.s64 %y, %y, 10;",
		func(t int, in [32]uint64) uint64 {
			if t < 9 {
				return 15
			}
			return 12
		}},
	{"shfl.sync.bfly.b32", "cvt.u32.u64 %r1, %x; shfl.sync.bfly.b32 %r2, %r1, 5, 31, -1; cvt.u64.u32 %y, %r2;", func(t int, in [32]uint64) uint64 { return in[t^5] & 0xffffffff }},
	{"shfl.sync.idx.b32", "cvt.u32.u64 %r1, %x; shfl.sync.idx.b32 %r2, %r1, 5, 31, -1; cvt.u64.u32 %y, %r2;", func(_ int, in [32]uint64) uint64 { return in[5] & 0xffffffff }},
	{"prefetch.global.L2", "prefetch.global.L2 [%a]; mov.u64 %y, %x;", func(t int, in [32]uint64) uint64 { return in[t] }},
	{"cp.async.cg.shared.global cp.async.commit_group cp.async.wait_group",
		`mov.u32 %r2, box; and.b32 %r3, %l, 1; shl.b32 %r4, %l, 3; add.s32 %r2, %r2, %r4; setp.eq.s32 %p1, %r3, 0; @%p1 cp.async.cg.shared.global [%r2], [%a], 16, 12;
		cp.async.commit_group; cp.async.wait_group 0; bar.sync 0; ld.shared.v2.u32 {%r5, %r6}, [%r2]; cvt.u64.u32 %y, %r6;`,
		func(t int, in [32]uint64) uint64 {
			if t%2 == 0 {
				return in[t] >> 32
			}
			return 0 // the last four of sixteen bytes are not copied but zeroed
		}},
	{"ldmatrix.sync.aligned.m8n8.x4.shared.b16", matrixInBox + "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r3, %r4, %r5, %r6}, [%r2]; mov.b64 %y, {%r3, %r6};",
		func(t int, in [32]uint64) uint64 {
			at := func(matrix, row, col int) uint64 { return uint64(matrix*64 + row*8 + col) }
			r, c := t/4, 2*(t%4)
			return at(0, r, c) | at(0, r, c+1)<<16 | at(3, r, c)<<32 | at(3, r, c+1)<<48
		}},
	{"ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16", matrixInBox + "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%r3, %r4, %r5, %r6}, [%r2]; mov.b64 %y, {%r4, %r5};",
		func(t int, in [32]uint64) uint64 {
			at := func(matrix, row, col int) uint64 { return uint64(matrix*64 + row*8 + col) }
			r, c := t/4, 2*(t%4)
			return at(1, c, r) | at(1, c+1, r)<<16 | at(2, c, r)<<32 | at(2, c+1, r)<<48
		}},
	// Each lane holds elements 2*(lane%4) and the next of row lane/4 of four matrices; numbered by matrix, row and column
	// they lie in order.
	{"stmatrix.sync.aligned.m8n8.x4.shared.b16", `shl.b32 %r1, %l, 4; mov.u32 %r2, box; add.s32 %r2, %r2, %r1; mul.lo.s32 %r4, %l, 0x20002; add.s32 %r4, %r4, 0x10000;
		add.s32 %r5, %r4, 0x400040; add.s32 %r6, %r5, 0x400040; add.s32 %r7, %r6, 0x400040;
		stmatrix.sync.aligned.m8n8.x4.shared.b16 [%r2], {%r4, %r5, %r6, %r7}; bar.sync 0; ld.shared.u64 %y, [%r2+8];`,
		func(t int, in [32]uint64) uint64 {
			at := uint64(8*t + 4)
			return at | (at+1)<<16 | (at+2)<<32 | (at+3)<<48
		}},
	// a[i][k] = i in row i at k = i only (a diagonal), b[k][n] = n+1: the product is i·(n+1).
	{"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", `shr.u32 %r1, %l, 2; and.b32 %r2, %l, 3; shl.b32 %r2, %r2, 1;
		add.s32 %r7, %r1, 8; cvt.rn.f32.s32 %f1, %r1; cvt.rn.f32.s32 %f2, %r7; mov.f32 %f3, 0f00000000; add.s32 %r8, %r2, 1;
		setp.eq.s32 %p1, %r1, %r2; selp.f32 %f4, %f1, %f3, %p1; setp.eq.s32 %p1, %r1, %r8; selp.f32 %f5, %f1, %f3, %p1; cvt.rn.bf16x2.f32 %r3, %f5, %f4;
		setp.eq.s32 %p1, %r1, %r2; selp.f32 %f4, %f2, %f3, %p1; setp.eq.s32 %p1, %r1, %r8; selp.f32 %f5, %f2, %f3, %p1; cvt.rn.bf16x2.f32 %r6, %f5, %f4;
		mov.b32 %r4, 0; mov.b32 %r5, 0; add.s32 %r9, %r1, 1; cvt.rn.f32.s32 %f6, %r9; cvt.rn.bf16x2.f32 %r10, %f6, %f6;
		mov.f32 %f7, 0f3F000000;
		mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f8, %f9, %f10, %f11}, {%r3, %r4, %r5, %r6}, {%r10, %r10}, {%f7, %f7, %f7, %f7};
		mov.b32 %r1, %f9; mov.b32 %r2, %f10; mov.b64 %y, {%r1, %r2};`,
		func(t int, in [32]uint64) uint64 {
			i, n := t/4, 2*(t%4)
			hi := float32((i+8)*(n+1)) + 0.5
			return uint64(math.Float32bits(float32(i*(n+2))+0.5)) | uint64(math.Float32bits(hi))<<32
		}},
}

// matrixInBox fills box with four 8x8 matrices of 16-bit numbers 0 to 255 and leaves the lane's row address in
// %r2: matrix lane/8, row lane%8.
const matrixInBox = `shl.b32 %r1, %l, 4; mov.u32 %r2, box; add.s32 %r2, %r2, %r1; shl.b32 %r3, %l, 3; mul.lo.s32 %r4, %r3, 0x10001; add.s32 %r4, %r4, 0x10000;
	add.s32 %r5, %r4, 0x20002; add.s32 %r6, %r5, 0x20002; add.s32 %r7, %r6, 0x20002; st.shared.v4.u32 [%r2], {%r4, %r5, %r6, %r7}; bar.sync 0; `

func wrap(body string) string {
	return `.version 8.3
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 k_param_0, .param .u64 k_param_1, .param .align 8 .b8 k_param_2[8])
.maxntid 32, 1, 1
{
.reg .pred %p<4>; .reg .b16 %h<8>; .reg .b32 %r<16>; .reg .b32 %l; .reg .f32 %f<16>; .reg .b64 %a, %b, %x, %y, %z, %z1, %z2, %z3;
.shared .align 128 .b8 box[1024];
.local .align 8 .b8 scratch[8];
ld.param.u64 %a, [k_param_0]; ld.param.u64 %b, [k_param_1]; mov.u32 %l, %tid.x; mul.wide.u32 %z, %l, 8;
add.s64 %a, %a, %z; add.s64 %b, %b, %z; ld.global.u64 %x, [%a];
` + body + `
st.global.u64 [%b], %y;
ret;
}`
}

// execute runs a wrapped body on 32 inputs.
func execute(t *testing.T, body string, in [32]uint64) [32]uint64 {
	t.Helper()
	return executeSeed(t, body, in, 0)
}

func executeSeed(t *testing.T, body string, in [32]uint64, seed uint64) [32]uint64 {
	t.Helper()
	mod, err := syntax.Parse(wrap(body))
	if err != nil {
		t.Fatal(err)
	}
	m := NewMachine(1 << 20)
	m.Seed = seed
	p, err := m.Load(mod)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 256)
	for i, v := range in {
		binary.LittleEndian.PutUint64(buf[8*i:], v)
	}
	a, _ := m.Alloc(256)
	b, _ := m.Alloc(256)
	if err := m.Write(a, buf); err != nil {
		t.Fatal(err)
	}
	var args []byte
	args = binary.LittleEndian.AppendUint64(args, a)
	args = binary.LittleEndian.AppendUint64(args, b)
	args = binary.LittleEndian.AppendUint32(args, uint32(0xfffffffb)) // -5
	args = binary.LittleEndian.AppendUint32(args, 77)
	if err := p.Launch("k", [3]int{1, 1, 1}, [3]int{32, 1, 1}, 0, args); err != nil {
		t.Fatal(err)
	}
	if err := m.Read(buf, b); err != nil {
		t.Fatal(err)
	}
	var out [32]uint64
	for i := range out {
		out[i] = binary.LittleEndian.Uint64(buf[8*i:])
	}
	return out
}

// number reads a value of the table as bits of a type.
func number(t *testing.T, s, typ string) uint64 {
	t.Helper()
	size := map[string]int{"pred": 8, "16": 2, "32": 4, "64": 8, "f": 4}[typ]
	if !strings.HasPrefix(s, "0x") && strings.ContainsAny(s, ".ni") {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		return uint64(math.Float32bits(float32(v)))
	}
	neg := strings.HasPrefix(s, "-")
	v, err := strconv.ParseUint(strings.TrimPrefix(s, "-"), 0, 64)
	if err != nil {
		t.Fatal(err)
	}
	if neg {
		v = -v
	}
	return truncate(v, size)
}

func TestRegisterInstructions(t *testing.T) {
	t.Parallel()
	for _, row := range alu {
		t.Run(row.op, func(t *testing.T) {
			types := strings.Fields(row.types)
			for _, c := range strings.Split(row.cases, ";") {
				sources, result, _ := strings.Cut(c, "=")
				values := strings.Fields(sources)
				if len(values) != len(types)-1 {
					t.Fatalf("%q: %d sources for types %q", c, len(values), row.types)
				}
				body, names := "", []string{}
				for i, v := range values {
					bits := number(t, v, types[i+1])
					lit := fmt.Sprintf("%#x", bits)
					switch types[i+1] {
					case "pred":
						body += fmt.Sprintf("setp.ne.s64 %%p%d, %s, 0;\n", i+1, lit)
						names = append(names, fmt.Sprintf("%%p%d", i+1))
					case "16":
						body += fmt.Sprintf("mov.b16 %%h%d, %s;\n", i+1, lit)
						names = append(names, fmt.Sprintf("%%h%d", i+1))
					case "32":
						body += fmt.Sprintf("mov.b32 %%r%d, %s;\n", i+1, lit)
						names = append(names, fmt.Sprintf("%%r%d", i+1))
					case "64":
						body += fmt.Sprintf("mov.b64 %%z%d, %s;\n", i+1, lit)
						names = append(names, fmt.Sprintf("%%z%d", i+1))
					case "f":
						body += fmt.Sprintf("mov.b32 %%r%d, %s; mov.b32 %%f%d, %%r%d;\n", i+1, lit, i+1, i+1)
						names = append(names, fmt.Sprintf("%%f%d", i+1))
					}
				}
				dst := map[string]string{"pred": "%p0", "16": "%h0", "32": "%r0", "64": "%y", "f": "%f0"}[types[0]]
				body += row.op + " " + dst + ", " + strings.Join(names, ", ") + ";\n"
				body += map[string]string{"pred": "selp.b64 %y, 1, 0, %p0;", "16": "cvt.u64.u16 %y, %h0;", "32": "cvt.u64.u32 %y, %r0;",
					"64": "", "f": "mov.b32 %r0, %f0; cvt.u64.u32 %y, %r0;"}[types[0]]
				got := execute(t, body, [32]uint64{})[3]
				want := number(t, strings.TrimSpace(result), types[0])
				if strings.TrimSpace(result) == "nan" {
					want = 0x7fffffff
				}
				if got != want {
					t.Errorf("%s: got %#x, want %#x", c, got, want)
				}
			}
		})
	}
}

func TestProgramInstructions(t *testing.T) {
	t.Parallel()
	var in [32]uint64
	for i := range in {
		in[i] = 0x9000000180020003 + uint64(i)*0x0101000302000507
	}
	for _, p := range programs {
		t.Run(p.ops, func(t *testing.T) {
			got := execute(t, p.body, in)
			for i := range got {
				if want := p.want(i, in); got[i] != want {
					t.Errorf("lane %d: got %#x, want %#x", i, got[i], want)
				}
			}
		})
	}
}

// Every instruction that ships, with its modifiers and types, has a row above that executes it.
func TestShippedInstructionsAreCovered(t *testing.T) {
	t.Parallel()
	covered := map[string]bool{}
	for _, r := range alu {
		covered[r.op] = true
	}
	for _, p := range programs {
		executed := map[string]bool{}
		mod, err := syntax.Parse(wrap(p.body))
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range mod.Kernels["k"].Code {
			executed[in.Text] = true
		}
		for _, op := range strings.Fields(p.ops) {
			covered[op] = true
			if !executed[op] {
				t.Errorf("the program for %q does not execute %s", p.ops, op)
			}
		}
	}
	for _, p := range hopperPrograms {
		for _, op := range strings.Fields(p.ops) {
			covered[op] = true
			covered[strings.ReplaceAll(op, ".shared::cta.b64", ".shared.b64")] = true
		}
	}
	for _, op := range hopperElsewhere() {
		covered[op] = true
	}
	shipped := map[string]map[string]bool{} // by target
	for file, src := range cuda.Sources() {
		mod, err := syntax.Parse(src)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if shipped[mod.Target] == nil {
			shipped[mod.Target] = map[string]bool{}
		}
		for _, k := range mod.Kernels {
			for _, in := range k.Code {
				if !covered[in.Text] && !shipped[mod.Target][in.Text] {
					t.Errorf("%s: %s line %d: %s has no conformance test", file, k.Name, in.Line, in.Text)
				}
				shipped[mod.Target][in.Text] = true
			}
		}
	}
	var b strings.Builder
	b.WriteString("One-instruction programs with results worked out by hand, one for every opcode with its modifiers and types that the shipped PTX\nuses.\n\n| target | opcode x type in use | with a test |\n|---|---:|---:|\n")
	for _, target := range slices.Sorted(maps.Keys(shipped)) {
		with := 0
		for op := range shipped[target] {
			if covered[op] {
				with++
			}
		}
		fmt.Fprintf(&b, "| %s | %d | %d |\n", target, len(shipped[target]), with)
	}
	Figure("Instructions", b.String())
}
