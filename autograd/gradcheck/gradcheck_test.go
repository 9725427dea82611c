package gradcheck_test

import (
	"testing"

	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/autograd/gradcheck"
	"github.com/dino-mx/dmx/kernels/ref"
	"github.com/dino-mx/dmx/tensor"
)

// wrong is 2·x whose recorded gradient is factor instead of 2.
func wrong(t *autograd.Tape, x *autograd.Var, factor float64) *autograd.Var {
	y := t.New(x.NeedsGrad(), x.Value.Shape()...)
	t.B.Copy(y.Value, x.Value)
	t.B.Scale(y.Value, 2)
	t.Record(autograd.Op{Out: y, Backward: func(dy *tensor.Tensor) {
		dx, _ := t.GradBuffer(x)
		t.B.Copy(dx, dy)
		t.B.Scale(dx, factor)
	}})
	return y
}

// The check passes a right gradient, fails one that is wrong by a millionth and a half, and one that is missing.
func TestFindsWrongGradients(t *testing.T) {
	x := tensor.Zeros(tensor.F64, 3, 4)
	for i := range x.F64() {
		x.F64()[i] = float64(i) / 7
	}
	v := autograd.NewParam(x, tensor.Zeros(tensor.F64, 3, 4))
	vars := []gradcheck.Named{{Name: "x", Var: v}}
	for _, c := range []struct {
		name   string
		factor float64
		good   bool
	}{{"right", 2, true}, {"wrong by 1.5e-6", 2 * (1 + 1.5e-6), false}, {"negative", -2, false}} {
		_, err := gradcheck.Run(ref.New(), vars, gradcheck.Options{}, func(t *autograd.Tape) []*autograd.Var {
			return []*autograd.Var{wrong(t, v, c.factor)}
		})
		if (err == nil) != c.good {
			t.Errorf("%s: error %v", c.name, err)
		}
	}
	unused := autograd.NewParam(tensor.Zeros(tensor.F64, 2), tensor.Zeros(tensor.F64, 2))
	_, err := gradcheck.Run(ref.New(), append(vars, gradcheck.Named{Name: "unused", Var: unused}), gradcheck.Options{},
		func(t *autograd.Tape) []*autograd.Var { return []*autograd.Var{wrong(t, v, 2)} })
	if err == nil {
		t.Error("a parameter without a gradient is accepted")
	}
}
