package device

import (
	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/optest"
	"github.com/dino-mx/dmx/tensor"
)

// family is a group of kernels that is checked as one.
type family struct {
	name string
	rows []optest.RowName
	*ladder
}

// ladder is the versions of the kernels of some families, which are replaced together.
type ladder struct {
	version func(v *cuda.Versions) *int // the field of Versions
	cost    map[int]string              // of an older version, by version (measured on an H200)
}

// The ladders of Versions.
var (
	gemmVersions = &ladder{func(v *cuda.Versions) *int { return &v.Gemm }, map[int]string{
		3: "about two thirds of the speed by estimate", 2: "about half the speed", 1: "about a hundredth of the speed"}}
	attentionVersions = &ladder{func(v *cuda.Versions) *int { return &v.Attention }, map[int]string{
		1: "about a hundredth of the speed"}}
	moverVersions = &ladder{func(v *cuda.Versions) *int { return &v.Movers }, map[int]string{
		1: "about half the speed"}}
	oneVersion *ladder // kernels of one version
)

func rows(op string, t tensor.DType, names ...string) []optest.RowName {
	var list []optest.RowName
	for _, n := range names {
		list = append(list, optest.RowName{Op: op, Row: n, Type: t})
	}
	return list
}

func join(lists ...[]optest.RowName) (all []optest.RowName) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// families are the kernels of a training step, each with a few small calls: every transposition of the operands of a
// product, epilogues, K cut into parts; attention forward and backward, on tensor cores and without.
var families = []family{
	{"matrix products", join(
		rows("Gemm", tensor.BF16, "even/NN/17x33x128", "even/NT/33x128x17", "even/TN/128x17x33", "even/TT/17x33x128",
			"even, bias, pre, gelu/NT/18x36x136", "even, gelu backward/NT/18x36x136",
			"even, bias, residual, gamma, row scale/NT/18x36x24", "even, everything/NN/18x36x24",
			"even, wide, accumulate/TN/18x36x24", "wide cut/TN/24x16x2056", "cut, gelu/NT/9x12x2056",
			"tiled, bias/NN/128x136x64", "tiled, bias/NT/128x136x64", "tiled, bias/TN/128x136x64", "tiled, bias/TT/128x136x64",
			"tiled, row of tiles/NT/8x25344x8", "tiled, cut/TN/92x136x1096", "tiled, columns/NT/40x136x72",
			"tiled, many, residual/NN/300x200x72"),
		rows("Gemm", tensor.F32, "even/NT/33x128x17"),
	), gemmVersions},
	{"attention", join(
		rows("Attention", tensor.F32, "7/h2d16/s1"), rows("AttentionBackward", tensor.F32, "7/h2d16/s1"),
		rows("Attention", tensor.BF16, "37+37+10+10+10/h3d32/s2", "32/h1d64/s1", "7/h2d16/s1"),
		rows("AttentionBackward", tensor.BF16, "32/h1d64/s1", "15/h3d32/s1", "7/h2d16/s1"),
	), attentionVersions},
	{"norms", join(
		rows("LayerNorm", tensor.F32, "5x32"), rows("LayerNormBackward", tensor.F32, "15x33"),
		rows("LayerNorm", tensor.BF16, "5x384", "15x33"), rows("LayerNormBackward", tensor.BF16, "striped/66x40"),
		rows("L2Normalize", tensor.BF16, "5x32"), rows("L2NormalizeBackward", tensor.BF16, "5x32"),
		rows("WeightNorm", tensor.BF16, "5x32"), rows("WeightNormBackward", tensor.BF16, "5x32"),
	), oneVersion},
	{"softmax and cross-entropy", join(
		rows("RowLogSumExp", tensor.BF16, "student/33x127", "student/3x256"),
		rows("ColSumExp", tensor.BF16, "student/33x127", "student/3x64"),
		rows("CrossEntropy", tensor.F32, "width/3x2x32/p2"),
		rows("CrossEntropy", tensor.BF16, "height/33x3x47/p2", "width/3x2x32/p2"),
		rows("SinkhornCentre", tensor.F32, "33x33"),
	), moverVersions},
	{"optimiser", join(
		rows("GradSquares", tensor.BF16, "14 entries"), rows("Guard", tensor.F32, "some clipped"),
		rows("AdamW", tensor.BF16, "14 entries/step 2"),
	), moverVersions},
	{"activations", join(
		rows("ActForward", tensor.BF16, "gelu/1x64", "gelu/1x33"), rows("ActBackward", tensor.BF16, "gelu/1x64", "gelu/1x33"),
	), moverVersions},
	{"data movement", join(
		rows("Patchify", tensor.BF16, "2x3x32x48/p16"), rows("RoPE", tensor.BF16, "32/h1d64/inverse false"),
		rows("GatherRows", tensor.BF16, "15x33"), rows("ScatterRows", tensor.BF16, "15x33"),
		rows("ColSum", tensor.BF16, "130x67"), rows("ColMoments", tensor.BF16, "3x64"),
		rows("Copy", tensor.F32, "f32tobf16/1x129"),
	), moverVersions},
}
