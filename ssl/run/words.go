package run

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/data/augment"
	"github.com/dino-mx/dmx/data/source"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/optim"
)

// words maps the words that a configuration key takes to what they stand for. A word that is missing is an error and
// never the zero value.
type words[T any] struct {
	key string
	of  map[string]T
}

// value returns what word stands for. The error names the key and the words that it takes.
func (w words[T]) value(word string) (T, error) {
	v, ok := w.of[word]
	if !ok {
		return v, fmt.Errorf("%s: %s: expected one of %s", w.key, word, strings.Join(w.known(), ", "))
	}
	return v, nil
}

func (w words[T]) known() []string { return slices.Sorted(maps.Keys(w.of)) }

var (
	lrScaling = words[optim.Scaling]{"optim.lr_scaling", map[string]optim.Scaling{
		"none": optim.NoScaling, "linear_wrt_256": optim.Linear256, "sqrt_wrt_1024": optim.Sqrt1024,
		"4sqrt_wrt_1024": optim.FourSqrt1024,
	}}
	clipScope = words[optim.Clip]{"optim.clip_scope", map[string]optim.Clip{
		"tensor": optim.ClipPerParameter, "module": optim.ClipPerModule, "global": optim.ClipGlobal,
	}}
	lastLayerFreeze = words[optim.LastLayer]{"optim.last_layer_freeze", map[string]optim.LastLayer{
		"drop_gradient": optim.LastLayerSkipped, "zero_lr": optim.LastLayerHeld,
	}}
	// centering tells whether the teacher's outputs become targets by Sinkhorn-Knopp.
	centering = words[bool]{"train.centering", map[string]bool{"centering": false, "sinkhorn_knopp": true}}
	// maskTarget tells whether a crop has exactly the number of masked patches that its bin ends with.
	maskTarget   = words[bool]{"ibot.mask_target", map[string]bool{"uniform": false, "exact": true}}
	dropPathMode = words[nn.DropPathConfig]{"train.drop_path_mode", map[string]nn.DropPathConfig{
		"linear": {Linear: true}, "uniform": {}, "subset": {Subset: true},
	}}
	// blurMode is the probability of a blur on the first view of a role, the second, and so on.
	blurMode = words[map[data.Role][]float64]{"augment.blur_mode", map[string]map[data.Role][]float64{
		"intended":  {data.Global: {1, .1}, data.Local: {.5}},
		"published": {data.Global: {0, .9}, data.Local: {.5}},
		"off":       {},
	}}
	layouts = words[source.Layout]{"dataset.layout", map[string]source.Layout{
		"auto": source.Auto, "classes": source.Classes, "splits": source.Splits, "flat": source.Flat, "archives": source.Archives,
	}}
	interpolation = words[augment.Filter]{"augment.interpolation", map[string]augment.Filter{
		"bicubic": augment.Bicubic, "bilinear": augment.Bilinear,
	}}
	// checkpointInterpolation is the name that hf.OpenOptions has for a rule.
	checkpointInterpolation = words[string]{"train.checkpoint_interpolation", map[string]string{
		"default": "", "size": "size", "offset": "offset", "antialias": "antialias",
	}}
	modelFamily = words[nn.Family]{"train.model_type", map[string]nn.Family{
		"vit": nn.FamilyViT, "dinov2": nn.FamilyDINOv2, "dinov2_with_registers": nn.FamilyDINOv2Registers,
		"dinov3_vit": nn.FamilyDINOv3,
	}}
)
