package ptx

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/kernels/ptx/syntax"
)

// sound is a kernel without a mistake; the cases of TestCheckFindsMistakes change one line of it.
const sound = `.version 8.3
.target sm_80
.address_size 64
.shared .align 4 .b8 box[64];
.extern .shared .align 16 .b8 dynamic[];
.visible .entry scale(
	.param .u64 scale_param_0,
	.param .f32 scale_param_1,
	.param .align 4 .b8 scale_param_2[12]
)
.maxntid 32, 2, 1
{
	.reg .pred %p<3>;
	.reg .f32 %f<4>;
	.reg .b64 %rd<4>;
	ld.param.u64 %rd1, [scale_param_0];
	ld.param.f32 %f1, [scale_param_1];
	ld.global.f32 %f2, [%rd1];
	mul.f32 %f3, %f1, %f2;
	setp.gt.f32 %p1, %f3, 0f00000000;
	@%p1 bra $done;
	st.global.f32 [%rd1+0], %f3;
$done:
	st.shared.f32 [box], %f3;
	ret;
}
`

func TestCheckFindsNothingInSoundCode(t *testing.T) {
	mod, mistakes := Check(sound)
	for _, m := range mistakes {
		t.Error(m)
	}
	k := mod.Kernels["scale"]
	want := []syntax.RegisterCount{{Type: "pred", Declared: 3, Used: 1}, {Type: "f32", Declared: 4, Used: 3}, {Type: "b64", Declared: 4, Used: 1}}
	if diff := cmp.Diff(want, k.Registers()); diff != "" {
		t.Error(diff)
	}
	params := []syntax.Param{{Name: "scale_param_0", Type: "u64", Align: 8, Size: 8, Offset: 0}, {Name: "scale_param_1", Type: "f32", Align: 4, Size: 4, Offset: 8}, {Name: "scale_param_2", Type: "b8", Align: 4, Size: 12, Offset: 12}}
	if diff := cmp.Diff(params, k.Params); diff != "" {
		t.Error(diff)
	}
	if k.Line != 6 || k.SharedLen != 64 || k.MaxNTid != 64 || k.Dynamic() {
		t.Errorf("line %d, shared %d, threads %d, dynamic %v", k.Line, k.SharedLen, k.MaxNTid, k.Dynamic())
	}
}

func TestCheckFindsMistakes(t *testing.T) {
	for _, c := range []struct {
		name, old, new string
		line           int
		reason         string // part of it
	}{
		{"unknown opcode", "mul.f32", "mull.f32", 19, "mull.f32: the instruction is not known"},
		{"unknown modifier", "ld.global.f32", "ld.global.lukewarm.f32", 18, `modifier ".lukewarm" is not known here`},
		{"unknown type", "mul.f32", "mul.f31", 19, "mul.f31: no type, or one that is not known"},
		{"no type", "mul.f32", "mul", 19, "no type"},
		{"undeclared register", "%f1, %f2;", "%f1, %f9;", 19, `"%f9" is not declared`},
		{"undeclared special register", "%f1, %f2;", "%f1, %tid.w;", 19, `"%tid.w" is not declared`},
		{"undeclared address register", "[%rd1+0]", "[%rd9+0]", 22, `unknown symbol "%rd9"`},
		{"too few operands", "mul.f32 %f3, %f1, %f2;", "mul.f32 %f3, %f1;", 19, "2 operands, want 3"},
		{"too many operands", "mul.f32 %f3, %f1, %f2;", "mul.f32 %f3, %f1, %f2, %f2;", 19, "4 operands, want 3"},
		{"no operands", "setp.gt.f32 %p1, %f3, 0f00000000;", "setp.gt.f32;", 20, "operands"},
		{"predicate as data", "mul.f32 %f3, %f1, %f2;", "mul.f32 %f3, %f1, %p1;", 19, "predicate %p1 where data is expected"},
		{"data as guard", "@%p1", "@%f1", 21, `guard "%f1" is not a predicate register`},
		{"unknown label", "bra $done", "bra $gone", 21, "unknown label $gone"},
		{"label twice", "\tst.shared", "$done:\n\tst.shared", 24, "label $done stands twice"},
		{"register twice", ".reg .b64 %rd<4>;", ".reg .b64 %rd<4>, %f0;", 15, "register %f0 is declared twice"},
		{"unknown register type", ".reg .f32", ".reg .f33", 14, `unknown register type ".f33"`},
		{"unknown parameter", "[scale_param_1]", "[scale_param_7]", 17, `unknown symbol "scale_param_7"`},
		{"unknown parameter type", ".param .f32", ".param .f33", 8, `unknown parameter type ".f33"`},
		{"parameter without type", ".param .f32 scale", ".param scale", 8, "has no type"},
		{"vector of the wrong length", "ld.global.f32 %f2,", "ld.global.v2.f32 {%f1, %f2, %f3},", 18, "3 destinations for .v2"},
		{"missing semicolon", "[scale_param_1];", "[scale_param_1]", 18, `expected "," or ";"`},
		{"not closed", "\tret;\n}", "\tret;", 26, "kernel scale is not closed"},
		{"registers without end", "%f<4>", "%f<4000000000>", 14, "4000000000 registers %f"},
		{"array without end", ".b8 box[64]", ".b8 box[99999999999999999]", 4, "at most 268435456 fit"},
		{"local memory without end", "\t.reg .pred", ".local .b8 a[1000000];\t.reg .pred", 6, "bytes of local memory, at most 524288 fit"},
		{"parameters without end", "[12]", "[40000]", 9, "40000 elements, expected 1 to 32764"},
		{"alignment", ".align 16 .b8 dyn", ".align 12 .b8 dyn", 5, "expected a power of two"},
		{"threads", ".maxntid 32", ".maxntid 0", 11, ".maxntid 0: expected 1 to 1024"},
		{"nested vectors", "mul.f32 %f3,", "mul.f32 {{%f3}},", 19, "a vector inside a vector"},
		{"no target", ".target sm_80\n", "", 1, "no .target"},
		{"not PTX", ".version 8.3", "PK\x03\x04", 1, "unexpected"},
		{"32-bit addresses", ".address_size 64", ".address_size 32", 3, "only 64 is supported"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(sound, c.old) {
				t.Fatalf("%q is not in the kernel", c.old)
			}
			_, mistakes := Check(strings.Replace(sound, c.old, c.new, 1))
			if len(mistakes) != 1 || mistakes[0].Line != c.line || !strings.Contains(mistakes[0].Reason, c.reason) {
				t.Errorf("found %v, want one mistake in line %d: %s", mistakes, c.line, c.reason)
			}
		})
	}
}

// One look finds all the mistakes inside well-formed instructions.
func TestCheckGoesOn(t *testing.T) {
	_, mistakes := Check(strings.NewReplacer("mul.f32", "mull.f32", "[scale_param_1]", "[other]", "setp.gt", "setp.over").Replace(sound))
	var lines []int
	for _, m := range mistakes {
		lines = append(lines, m.Line)
	}
	if diff := cmp.Diff([]int{17, 19, 20}, lines); diff != "" {
		t.Errorf("%v\n%s", mistakes, diff)
	}
}
