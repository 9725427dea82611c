package nn_test

import (
	"math"
	"testing"

	"github.com/dino-mx/dmx/kernels/cpu"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
)

// The count explains what a forward pass leaves in the arena, up to rounding of some 70 tensors to 256 bytes, and
// backward leaves nothing.
func TestActivationBytes(t *testing.T) {
	be := cpu.New(cpu.Options{})
	defer be.Close()
	for name, c := range families() {
		for _, checkpoint := range []bool{false, true} {
			for _, few := range []bool{false, true} {
				c.DropPath = nn.DropPathConfig{Rate: 0.4, Linear: true}
				c.Dim, c.Heads, c.MLPDim, c.Depth = 64, 2, 96, 3
				b := nn.Builder{Backend: be, DType: tensor.F32, Train: true}
				v := newModel(t, b, c)
				groups := []nn.Group{images(1, 6, c.Channels, 6, 6), images(2, 8, c.Channels, 4, 4)}
				l := layout(t, v, groups)
				tape := b.NewTape()
				tape.A.Poison = true
				o := nn.Options{Checkpoint: checkpoint, Draw: nn.Draw{Train: true}}
				rows := -1
				if few {
					o.Rows, rows = l.CLSRows(), l.Crops
				}
				out := v.Forward(tape, l, groups, o)
				got, want := float64(tape.A.InUse()), float64(v.ActivationBytes(l, rows, checkpoint))
				if slack := 128.0 * 70; math.Abs(got-want) > slack {
					t.Errorf("%s, checkpoint %v, CLS rows only %v: %g bytes in use, counted %g", name, checkpoint, few, got, want)
				}
				tape.Release(out.Tokens)
				backward(tape, out.Tokens)
				left := 0
				for i := range v.Blocks {
					if i > 0 {
						left += 2 * 4 * (l.Tokens + 256)
					}
				}
				if n := tape.A.InUse(); n > left {
					t.Errorf("%s, checkpoint %v: %d bytes are in use after backward, drop-path factors explain %d", name, checkpoint, n, left)
				}
			}
		}
	}
}
