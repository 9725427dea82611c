package autograd_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/ref"
	"github.com/dino-mx/dmx/tensor"
)

func newTape() *autograd.Tape {
	arena := tensor.NewArena(tensor.Host)
	arena.Poison = true
	return autograd.NewTape(ref.New(), arena, tensor.F64)
}

// mlp is a small network whose intermediate values are released as nn releases them.
func mlp(t *autograd.Tape, x, w1, w2 *autograd.Var) *autograd.Var {
	h := t.Linear(autograd.Linear{X: x, W: w1, Act: kernels.GELU})
	y := t.Linear(autograd.Linear{X: h, W: w2})
	t.Release(h)
	return y
}

func seed(t *autograd.Tape, y *autograd.Var) {
	g, _ := t.GradBuffer(y)
	t.B.Fill(g, 1)
}

// A hook fires once per backward, after the last of several uses, whether or not the uses lie in a checkpoint.
func TestReadyHookCountsUses(t *testing.T) {
	w1, w2 := param(1, 1, 0, 4, 4), param(2, 1, 0, 4, 4)
	x := param(3, 1, 0, 3, 4)
	var order []string
	w1.OnReady(func() { order = append(order, "w1") })
	w2.OnReady(func() { order = append(order, "w2") })
	tape := newTape()
	for _, checkpoint := range []bool{false, true} {
		for range 2 {
			order = nil
			layer := func(x *autograd.Var) *autograd.Var { return mlp(tape, x, w1, w2) }
			y := x
			for range 3 {
				if checkpoint {
					y = tape.Checkpoint(y, layer)
				} else {
					y = layer(y)
				}
			}
			seed(tape, y)
			tape.Backward()
			tape.Reset()
			if diff := cmp.Diff([]string{"w2", "w1"}, order); diff != "" {
				t.Errorf("checkpoint %v: hooks (-want +got):\n%s", checkpoint, diff)
			}
		}
	}
}

// A reset in the middle of a step, after a loss that was not finite, leaves no use counted.
func TestResetForgetsUses(t *testing.T) {
	w1, w2 := param(1, 1, 0, 4, 4), param(2, 1, 0, 4, 4)
	x := param(3, 1, 0, 3, 4)
	fired := 0
	w1.OnReady(func() { fired++ })
	tape := newTape()
	tape.Checkpoint(x, func(x *autograd.Var) *autograd.Var { return mlp(tape, x, w1, w2) })
	mlp(tape, x, w1, w2)
	tape.Reset()
	seed(tape, mlp(tape, x, w1, w2))
	tape.Backward()
	if fired != 1 {
		t.Errorf("the hook fired %d times, want 1", fired)
	}
}

// A gradient is only computed where something asks for it, and what is frozen in front of it is not recorded.
func TestFrozenPrefixStopsTheTape(t *testing.T) {
	w1, w2 := param(1, 1, 0, 4, 4), param(2, 1, 0, 4, 4)
	w1.SetNeedsGrad(false)
	tape := newTape()
	x := tape.Const(param(3, 1, 0, 3, 4).Value)
	h := tape.Linear(autograd.Linear{X: x, W: w1})
	if h.NeedsGrad() {
		t.Error("the output of a frozen layer wants a gradient")
	}
	before := tape.A.InUse()
	tape.Release(tape.Linear(autograd.Linear{X: h, W: w1}))
	if got := tape.A.InUse(); got != before {
		t.Errorf("a released value of the frozen prefix keeps %d bytes", got-before)
	}
	y := tape.Linear(autograd.Linear{X: h, W: w2})
	tape.Release(h)
	seed(tape, y)
	tape.Backward()
	if w1.HasGrad() || !w2.HasGrad() {
		t.Errorf("gradients: frozen %v, trained %v; want false, true", w1.HasGrad(), w2.HasGrad())
	}
}

// In steady state a step leaves nothing in the arena and takes no memory from the allocator.
func TestBackwardFreesEverything(t *testing.T) {
	w1, w2 := param(1, 1, 0, 4, 4), param(2, 1, 0, 4, 4)
	x := tensor.Zeros(tensor.F64, 3, 4)
	for _, mode := range []string{"plain", "checkpoint", "no grad"} {
		tape := newTape()
		run := func() {
			in := tape.Const(x)
			switch mode {
			case "plain":
				y := mlp(tape, in, w1, w2)
				tape.Release(y)
				seed(tape, y)
			case "checkpoint":
				y := tape.Checkpoint(in, func(x *autograd.Var) *autograd.Var { return mlp(tape, x, w1, w2) })
				tape.Release(y)
				seed(tape, y)
			case "no grad":
				tape.NoGrad(func() { tape.Release(mlp(tape, in, w1, w2)) })
			}
			tape.Backward()
		}
		run()
		if n := tape.A.InUse(); n != 0 {
			t.Errorf("%s: %d bytes of the arena are in use after backward", mode, n)
		}
		tape.Reset()
		held := tape.A.Reserved()
		run()
		tape.Reset()
		if got := tape.A.Reserved(); got != held {
			t.Errorf("%s: the second step changed the arena from %d to %d bytes", mode, held, got)
		}
	}
}

// A released matrix stays until backward is done with its row ranges, and no longer.
func TestReleaseWaitsForSlices(t *testing.T) {
	w1, w2, x := param(1, 1, 0, 4, 4), param(2, 1, 0, 4, 4), param(3, 1, 0, 3, 4)
	run := func(release bool) (dw []float64, left int) {
		tape := newTape()
		for _, v := range []*autograd.Var{w1, w2, x} {
			v.ZeroGrad()
		}
		h := tape.Linear(autograd.Linear{X: x, W: w1})
		y := tape.Linear(autograd.Linear{X: tape.Slice(h, 1, 3), W: w2})
		if release {
			tape.Release(h)
			tape.Release(y)
		}
		seed(tape, y)
		tape.Backward()
		return append(append([]float64(nil), w1.Grad.F64()...), w2.Grad.F64()...), tape.A.InUse()
	}
	want, _ := run(false)
	got, left := run(true)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("kept and released:\n%s", diff)
	}
	if left != 0 {
		t.Errorf("%d bytes are left", left)
	}
}

// Checkpointing gives the same bits.
func TestCheckpointSameBits(t *testing.T) {
	w1, w2, x := param(1, 1, 0, 4, 4), param(2, 1, 0, 4, 4), param(3, 1, 0, 3, 4)
	var want [][]float64
	for _, checkpoint := range []bool{false, true} {
		tape := newTape()
		layer := func(x *autograd.Var) *autograd.Var {
			d := tape.Dropout(x, 0.5, 3, 4)
			y := mlp(tape, d, w1, w2)
			tape.Release(d)
			return y
		}
		y := x
		for range 2 {
			if checkpoint {
				y = tape.Checkpoint(y, layer)
			} else {
				y = layer(y)
			}
		}
		var got [][]float64
		got = append(got, append([]float64(nil), y.Value.F64()...))
		seed(tape, y)
		tape.Backward()
		for _, v := range []*autograd.Var{w1, w2, x} {
			got = append(got, append([]float64(nil), v.Grad.F64()...))
			v.ZeroGrad()
		}
		if want == nil {
			want = got
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("with and without checkpoint (-without +with):\n%s", diff)
		}
	}
}

func TestGradBufferRefusesActivationsAndFrozen(t *testing.T) {
	w, x := param(1, 1, 0, 4, 4), param(3, 1, 0, 3, 4)
	tape := newTape()
	h := tape.Linear(autograd.Linear{X: x, W: w, Act: kernels.GELU})
	for name, v := range map[string]*autograd.Var{"activation": h, "constant": tape.Const(x.Value)} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: GradBuffer did not panic", name)
				}
			}()
			tape.GradBuffer(v)
		}()
	}
}
