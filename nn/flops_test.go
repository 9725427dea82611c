package nn_test

import (
	"math"
	"testing"

	"github.com/dino-mx/dmx/nn"
)

// The published count of DINO's ViT-S/16 recipe, 114 GFLOP an image.
func TestFLOPsOfDINOViTS(t *testing.T) {
	v := size(nn.FamilyViT, 384, 12, 6)
	h := nn.HeadConfig{In: 384, Hidden: 2048, Bottleneck: 256, Prototypes: 65536, Layers: 3}
	row := h.FLOPs(384) + 2*int64(h.Bottleneck)*int64(h.Prototypes)
	student := 2*v.FLOPs(224, 224) + 8*v.FLOPs(96, 96) + 10*row
	teacher := 2*v.FLOPs(224, 224) + 2*row
	if got := float64(3*student+teacher) / 1e9; math.Abs(got-114) > 1 {
		t.Errorf("%.1f GFLOP an image, published 114", got)
	}
}
