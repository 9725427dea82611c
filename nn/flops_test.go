package nn_test

import (
	"math"
	"testing"

	"github.com/dino-mx/dmx/kernels/ref"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
)

// onPaperGroup is a group whose images are only a shape.
func onPaperGroup(batch, channels, side int) nn.Group {
	n := batch * channels * side * side * 4
	return nn.Group{Images: tensor.Over(&tensor.Buffer{Size: n}, 0, tensor.F32, batch, channels, side, side)}
}

// The published count of DINO's ViT-S/16 recipe, 114 GFLOP an image, of which one image is counted here.
func TestFLOPsOfDINOViTS(t *testing.T) {
	v, err := (nn.Builder{Backend: tablesOnly{paperBackend{ref.New()}}, DType: tensor.F32}).NewViT(size(nn.FamilyViT, 384, 12, 6))
	if err != nil {
		t.Fatal(err)
	}
	h, err := paper.NewHead(nn.HeadConfig{In: 384, Hidden: 2048, Bottleneck: 256, Prototypes: 65536, Layers: 3})
	if err != nil {
		t.Fatal(err)
	}
	groups := []nn.Group{onPaperGroup(2, 3, 224), onPaperGroup(8, 3, 96)}
	all, global := layout(t, v, groups), layout(t, v, groups[:1])
	student, done := v.FLOPs(all, all.Crops)
	teacher, _ := v.FLOPs(global, -1)
	total := 3*(student+h.FLOPs(10)) + teacher + h.FLOPs(2)
	if got := float64(total) / 1e9; math.Abs(got-114) > 1 {
		t.Errorf("%.1f GFLOP an image, published 114", got)
	}
	if saved := 1 - float64(done)/float64(student); saved < 0.05 || saved > 1.0/12 {
		t.Errorf("reading the CLS rows alone saves %.3f of the trunk, want most of one block of twelve", saved)
	}
}

// tablesOnly swallows uploads to memory that is not there.
type tablesOnly struct{ paperBackend }

func (tablesOnly) Upload(_, _ *tensor.Tensor) {}
