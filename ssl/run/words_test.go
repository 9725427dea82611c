package run

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/ssl/config"
	"github.com/dino-mx/dmx/tensor"
)

// choices lists the words of every key of the configuration that takes one of a few and has an effect.
func choices() map[string][]string {
	found := map[string][]string{}
	for section := range reflect.TypeFor[config.Config]().Fields() {
		for leaf := range section.Type.Fields() {
			if one := leaf.Tag.Get("oneof"); one != "" && leaf.Tag.Get("inert") == "" {
				words := strings.Split(one, "|")
				slices.Sort(words)
				found[section.Tag.Get("json")+"."+leaf.Tag.Get("json")] = words
			}
		}
	}
	return found
}

func TestEveryWordOfTheConfigurationStandsForSomething(t *testing.T) {
	tables := map[string][]string{
		lrScaling.key: lrScaling.known(), clipScope.key: clipScope.known(), lastLayerFreeze.key: lastLayerFreeze.known(),
		centering.key: centering.known(), maskTarget.key: maskTarget.known(), dropPathMode.key: dropPathMode.known(),
		layouts.key: layouts.known(), blurMode.key: blurMode.known(), interpolation.key: interpolation.known(), mixedPrecision.key: mixedPrecision.known(),
		checkpointInterpolation.key: checkpointInterpolation.known(),
	}
	if diff := cmp.Diff(choices(), tables); diff != "" {
		t.Error(diff)
	}
}

// A word that a table does not hold, such as one that was added to the configuration alone, is an error.
func TestAnUnknownWordIsAnError(t *testing.T) {
	c := quickstart(t)
	for _, spoil := range []func(c *config.Config){
		func(c *config.Config) { c.Optim.LRScaling = "x" },
		func(c *config.Config) { c.Optim.ClipScope = "x" },
		func(c *config.Config) { c.Optim.LastLayerFreeze = "x" },
		func(c *config.Config) { c.Train.Centering = "x" },
		func(c *config.Config) { c.IBOT.MaskTarget = "x" },
		func(c *config.Config) { c.Train.DropPathMode = "x" },
	} {
		bad := *c
		spoil(&bad)
		v, err := vitConfig(&bad, 1)
		if err == nil {
			_, err = settings(&bad, v)
		}
		if err == nil || !strings.Contains(err.Error(), ": x: expected one of ") {
			t.Errorf("%v", err)
		}
	}
	im := &images{}
	for _, spoil := range []func(c *config.Config){
		func(c *config.Config) { c.Augment.BlurMode = "x" },
		func(c *config.Config) { c.Augment.Interpolation = "x" },
	} {
		bad := *c
		spoil(&bad)
		if _, err := im.multiCrop(&bad); err == nil || !strings.Contains(err.Error(), ": x: expected one of ") {
			t.Errorf("%v", err)
		}
	}
}

func TestPrecision(t *testing.T) {
	for _, c := range []struct {
		word  string
		fast  tensor.DType
		dtype tensor.DType
		noted bool
	}{
		{"bf16", tensor.BF16, tensor.BF16, false},
		{"fp16", tensor.BF16, tensor.BF16, true},
		{"no", tensor.BF16, tensor.F32, false},
		{"bf16", tensor.F32, tensor.F32, false},
		{"fp16", tensor.F32, tensor.F32, true},
		{"no", tensor.F32, tensor.F32, false},
	} {
		dtype, note, err := precision(c.word, c.fast)
		if err != nil || dtype != c.dtype || (note != "") != c.noted {
			t.Errorf("%s on a device of %s: %s, %q, %v", c.word, c.fast, dtype, note, err)
		}
	}
	if _, _, err := precision("fp8", tensor.BF16); err == nil {
		t.Error("fp8 was accepted")
	}
}

// What a run does not do as the configuration says stands in its log.
func TestTheLogNamesWhatIsNotDone(t *testing.T) {
	c := tiny(t, "train.max_iterations=1", "train.saveckp_freq=0", "distribution.mixed_precision=fp16", "distribution.type=fsdp")
	var log strings.Builder
	_, err := Train(t.Context(), c, Options{Device: "cpu", Log: func(level, m string) { log.WriteString(level + " " + m + "\n") }})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"WARNING distribution.mixed_precision: fp16 is not computed: the run works in f32; set it to bf16 or no\n",
		"WARNING without effect: distribution.type=fsdp (this version trains on one rank)\n",
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in\n%s", want, log.String())
		}
	}
}
