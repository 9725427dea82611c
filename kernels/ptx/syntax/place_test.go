package syntax

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const paramKernel = `.version 8.3
.target TARGET
.address_size 64
.visible .entry k(.param .u32 a, .param .align 64 .b8 b[128], .param .u64 c, .param .align 128 .b8 d[128])
{
	ret;
}
`

// The offsets are those of EIATTR_KPARAM_INFO in the cubins that ptxas 12.9 makes of this kernel.
func TestParametersLieAsPtxasPlacesThem(t *testing.T) {
	for target, want := range map[string][]int{"sm_80": {0, 32, 160, 288}, "sm_89": {0, 32, 160, 288}, "sm_90a": {0, 48, 176, 240}, "sm_100": {0, 64, 192, 256}} {
		mod, err := Parse(strings.Replace(paramKernel, "TARGET", target, 1))
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, p := range mod.Kernels["k"].Params {
			got = append(got, p.Offset)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", target, diff)
		}
	}
}

func TestArgumentsArePlacedOneByOne(t *testing.T) {
	mod, err := Parse(strings.Replace(paramKernel, "TARGET", "sm_90a", 1))
	if err != nil {
		t.Fatal(err)
	}
	k := mod.Kernels["k"]
	args := make([]byte, 4+4+128+8+128)
	at := []uint32{0, 8, 136, 144}
	for i, from := range at {
		args[from] = byte(1 + i)
	}
	got, err := k.Place(args, at)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range k.Params {
		if got[p.Offset] != byte(1+i) {
			t.Errorf("parameter %s begins with %d, want %d", p.Name, got[p.Offset], 1+i)
		}
	}
	for _, c := range []struct {
		at   []uint32
		args int
		want string
	}{
		{nil, len(args), "0 arguments, want 4"},
		{at[:3], len(args), "3 arguments, want 4"},
		{at, len(args) - 1, "argument 3 has bytes 144 to 271 of 271, want 128 of them"},
		{[]uint32{0, 8, 9, 144}, len(args), "argument 1 has bytes 8 to 9"},
		{[]uint32{0, 8, 136, 1000}, len(args), "argument 2 has bytes 136 to 1000"},
		{[]uint32{8, 0, 136, 144}, len(args), "argument 0 has bytes 8 to 0"},
		{[]uint32{0, 100, 136, 144}, len(args), "argument 0 has bytes 0 to 100"},
	} {
		if _, err := k.Place(args[:c.args], c.at); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v of %d bytes: %v, want %q", c.at, c.args, err, c.want)
		}
	}
}
