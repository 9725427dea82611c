package nn

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/kernels/ref"
	"github.com/dino-mx/dmx/tensor"
)

// pass sets up the draws of a forward pass over one group of crops with one patch each.
func pass(t *testing.T, c DropPathConfig, batch, depth int, step uint32, keys []uint32) *passInputs {
	t.Helper()
	b := Builder{Backend: ref.New(), DType: tensor.F32}
	v, err := b.NewViT(ViTConfig{
		Channels: 1, PatchSize: 1, ImageSize: 1, Dim: 1, Depth: depth, Heads: 1, MLPDim: 1, NormEps: 1e-6, DropPath: c,
	})
	if err != nil {
		t.Fatal(err)
	}
	groups := []Group{{Images: tensor.Zeros(tensor.F32, batch, 1, 1, 1), Keys: keys}}
	l, err := v.Layout(groups)
	if err != nil {
		t.Fatal(err)
	}
	return v.blockInputs(b.NewTape(), l, groups, Options{Draw: Draw{Train: true, Seed: 5, Step: step}})
}

// Over many crops the share dropped is the rate of the block, every token of a crop shares its draw, and what is
// kept is scaled so that the mean stays 1.
func TestDropPathStatistics(t *testing.T) {
	const batch, depth, rate = 20000, 3, 0.3
	in := pass(t, DropPathConfig{Rate: rate, Linear: true}, batch, depth, 1, nil)
	if b := in.blocks[0]; b.attn.scale != nil || b.mlp.scale != nil {
		t.Error("the first block of a linear ramp drops paths")
	}
	for i, p := range []float64{0, rate / 2, rate} {
		if p == 0 {
			continue
		}
		b := in.blocks[i]
		for _, scale := range [][]float32{b.attn.scale.F32(), b.mlp.scale.F32()} {
			dropped, sum := 0, 0.0
			for c := 0; c < batch; c++ {
				if scale[2*c] != scale[2*c+1] {
					t.Fatalf("crop %d: its two tokens have factors %g and %g", c, scale[2*c], scale[2*c+1])
				}
				if scale[2*c] == 0 {
					dropped++
				}
				sum += float64(scale[2*c])
			}
			sigma := math.Sqrt(p * (1 - p) / batch)
			if got := float64(dropped) / batch; math.Abs(got-p) > 5*sigma {
				t.Errorf("block %d drops %.4f, want %.4f ± %.4f", i, got, p, sigma)
			}
			if mean := sum / batch; math.Abs(mean-1) > 5*sigma/(1-p) {
				t.Errorf("block %d: mean factor %.4f, want 1", i, mean)
			}
		}
		if cmp.Equal(b.attn.scale.F32(), b.mlp.scale.F32()) {
			t.Errorf("block %d: both branches draw the same", i)
		}
	}
	next := pass(t, DropPathConfig{Rate: rate}, batch, depth, 2, nil)
	if cmp.Equal(in.blocks[2].attn.scale.F32(), next.blocks[2].attn.scale.F32()) {
		t.Error("two steps draw the same")
	}
}

// The rows wanted of the last block get the factors of their crops.
func TestDropPathOfChosenRows(t *testing.T) {
	in := pass(t, DropPathConfig{Rate: 0.5}, 50, 2, 1, nil)
	all := append([]float32(nil), in.blocks[1].mlp.scale.F32()...)
	in.rowsAt = []int32{7, 0, 40, 99}
	in.fill()
	got := in.blocks[1].mlp.scale.F32()
	want := []float32{all[7], all[0], all[40], all[99]}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("factors of rows 7, 0, 40, 99:\n%s", diff)
	}
}

// A subset has max(int(B·(1-p)), 1) crops, scaled by B over that, each crop equally often, and two branches
// differ.
func TestSubsetDropPathStatistics(t *testing.T) {
	const batch, rate, draws = 10, 0.35, 600
	counts := make([]int, batch)
	differ := false
	for step := uint32(0); step < draws; step++ {
		in := pass(t, DropPathConfig{Rate: rate, Subset: true}, batch, 1, step, nil)
		b := in.blocks[0]
		rows := b.attn.pick.Index.I32()
		if len(rows) != 2*6 {
			t.Fatalf("%d rows of 2 tokens, want int(10·0.65) = 6 crops", len(rows))
		}
		for _, s := range b.attn.scale.F32() {
			if s != float32(10.0/6) {
				t.Fatalf("factor %g, want 10/6", s)
			}
		}
		if diff := cmp.Diff([]int32{0, 2, 4, 6, 8, 10, 12}, b.attn.seqs.Host); diff != "" {
			t.Fatalf("sequences:\n%s", diff)
		}
		for i := 0; i < len(rows); i += 2 {
			counts[rows[i]/2]++
		}
		differ = differ || !cmp.Equal(rows, b.mlp.pick.Index.I32())
	}
	for c, n := range counts {
		if p, sigma := float64(n)/draws, math.Sqrt(0.6*0.4/draws); math.Abs(p-0.6) > 5*sigma {
			t.Errorf("crop %d is kept in %.3f of the draws, want 0.6", c, p)
		}
	}
	if !differ {
		t.Error("both branches always pick the same crops")
	}
	if n := pass(t, DropPathConfig{Rate: 0.9, Subset: true}, 2, 1, 0, nil).blocks[0].attn.pick.Index.Len(); n != 2 {
		t.Errorf("%d tokens of 2 crops at rate 0.9, want those of one crop", n)
	}
}

// A crop draws by its key, wherever it lies.
func TestDropPathFollowsKeys(t *testing.T) {
	a := pass(t, DropPathConfig{Rate: 0.5}, 4, 1, 1, []uint32{70, 71, 72, 73}).blocks[0].attn.scale.F32()
	b := pass(t, DropPathConfig{Rate: 0.5}, 2, 1, 1, []uint32{73, 71}).blocks[0].attn.scale.F32()
	if diff := cmp.Diff([]float32{a[6], a[2]}, []float32{b[0], b[2]}); diff != "" {
		t.Errorf("crops 73 and 71 alone:\n%s", diff)
	}
}
