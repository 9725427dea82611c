package autograd_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels/cpu"
	"github.com/dino-mx/dmx/tensor"
)

func TestRowMap(t *testing.T) {
	b := cpu.New(cpu.Options{Threads: 1})
	defer b.Close()
	tape := autograd.NewTape(b, tensor.NewArena(b.Allocator()), tensor.F32)
	made, err := autograd.NewRowMap(b, []int32{4, 1, 2}, 7)
	if err != nil {
		t.Fatal(err)
	}
	tape.RowMap([]int32{0, 1}, 9) // leaves its inverse behind
	for _, m := range []autograd.RowMap{made, tape.RowMap([]int32{4, 1, 2}, 7)} {
		if diff := cmp.Diff([]int32{4, 1, 2}, m.Index.I32()); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]int32{-1, 1, 2, -1, 0, -1, -1}, m.Inverse.I32()); diff != "" {
			t.Error(diff)
		}
	}
	for want, rows := range map[string][]int32{"row 7": {0, 7}, "row -1": {-1}, "row 3 twice": {3, 3}} {
		func() {
			defer func() {
				if got, _ := recover().(string); !strings.Contains(got, want) {
					t.Errorf("%v: panic %q, want %q", rows, got, want)
				}
			}()
			tape.RowMap(rows, 7)
		}()
	}
}
