package nn_test

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/nn"
)

// Groups that do not fit the model are an error that says which and why.
func TestLayoutErrors(t *testing.T) {
	v := newModel(t, oracle, families()["dinov2"])
	for want, groups := range map[string][]nn.Group{
		"group 1: images of shape [1 3 6 6]; the model wants [B 2 H W]": {images(1, 1, 2, 6, 6), images(1, 1, 3, 6, 6)},
		"group 0: images of shape [2 6 6]":                              {images(1, 2, 6, 6)},
		"smaller than one patch of 2":                                   {images(1, 1, 2, 6, 1)},
	} {
		if _, err := v.Layout(groups); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// A layout is made once for each combination of shapes, and says where everything lies.
func TestLayout(t *testing.T) {
	v := newModel(t, oracle, families()["dinov2 with registers"])
	groups := crops(v.Config)
	l := layout(t, v, groups)
	if again := layout(t, v, crops(v.Config)); again != l {
		t.Error("the same shapes make a second layout")
	}
	if other := layout(t, v, groups[:1]); other == l {
		t.Error("other shapes get the same layout")
	}
	// 2 crops of 1+3+9 tokens, 3 crops of 1+3+8.
	if diff := cmp.Diff([]int32{0, 13, 26, 38, 50, 62}, l.Seqs.Host); diff != "" {
		t.Errorf("starts:\n%s", diff)
	}
	if diff := cmp.Diff([]int32{0, 13, 26, 38, 50}, l.CLSRows()); diff != "" {
		t.Errorf("CLS rows:\n%s", diff)
	}
	if l.Tokens != 62 || l.Patches != 2*9+3*8 || l.Crops != 5 || l.Seqs.MaxLen != 13 {
		t.Errorf("%d tokens, %d patches, %d crops, longest %d", l.Tokens, l.Patches, l.Crops, l.Seqs.MaxLen)
	}
	if l.CLSRow(1, 2) != 50 || l.Row(1, 2, 7) != 61 || l.Row(0, 0, 0) != 4 {
		t.Errorf("rows %d %d %d, want 50 61 4", l.CLSRow(1, 2), l.Row(1, 2, 7), l.Row(0, 0, 0))
	}
	if diff := cmp.Diff([]int32{5, 9, 20}, l.MaskedRows(nil, 0, groups[0].Mask)); diff != "" {
		t.Errorf("masked rows:\n%s", diff)
	}
}

// Mistakes of the program stop it.
func TestForwardPanics(t *testing.T) {
	v := newModel(t, oracle, families()["dinov2"])
	unmasked := newModel(t, oracle, families()["vit"])
	groups := crops(v.Config)
	l := layout(t, v, groups)
	short := []nn.Group{groups[0]}
	short[0].Mask = make([]bool, 3)
	for name, f := range map[string]func(){
		"another layout":      func() { v.Forward(oracle.NewTape(), l, groups[:1], nn.Options{}) },
		"a row twice":         func() { v.Forward(oracle.NewTape(), l, groups, nn.Options{Rows: []int32{1, 2, 1}}) },
		"a mask too short":    func() { v.Forward(oracle.NewTape(), layout(t, v, short), short, nn.Options{}) },
		"masks without token": func() { unmasked.Forward(oracle.NewTape(), layout(t, unmasked, groups), groups, nn.Options{}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

func TestLoRAErrors(t *testing.T) {
	for want, c := range map[string]nn.LoRAConfig{
		"lora_r is 0":       {Targets: []string{"query"}},
		"lora_dropout is 1": {Rank: 1, Dropout: 1, Targets: []string{"query"}},
		"match no unfrozen": {Rank: 1, Targets: []string{"uery"}},
		`pattern "("`:       {Rank: 1, Pattern: "("},
	} {
		_, err := oracle.AddLoRA(newModel(t, oracle, families()["dinov2"]), c)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// Ranks and scales by module, and PEFT's matching by pattern.
func TestLoRAPatterns(t *testing.T) {
	v := newModel(t, oracle, families()["dinov2"])
	const p, q = "encoder.layer.0.attention.attention.", "encoder.layer.1.attention.attention."
	adapters, err := oracle.AddLoRA(v, nn.LoRAConfig{
		Rank: 4, Alpha: 8, RSLoRA: true, Gaussian: true,
		Pattern: `encoder\.layer\.\d\.attention\.attention\.(query|value)`,
		Ranks:   map[string]int{q + "query": 2, q + "value": 2},
		Alphas:  map[string]float64{p + "value": 3, q + "value": 3},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, a := range adapters {
		got[a.Module] = a.Scale
	}
	want := map[string]float64{p + "query": 4, p + "value": 1.5, q + "query": 8 / math.Sqrt2, q + "value": 3 / math.Sqrt2}
	if diff := cmp.Diff(want, got, approx(1e-12)); diff != "" {
		t.Errorf("scales:\n%s", diff)
	}
	if s := v.Params.ByName(q + "value.lora_A.weight").Shape; s[0] != 2 || s[1] != 8 {
		t.Errorf("lora_A has shape %s", s)
	}
}

// Copies need the same names and shapes.
func TestCopyFromErrors(t *testing.T) {
	small := families()["dinov2"]
	big := small
	big.MLPDim = 20
	a, b := newModel(t, oracle, small), newModel(t, oracle, big)
	if err := a.Params.CopyFrom(oracle.Backend, b.Params); err == nil || !strings.Contains(err.Error(), "mlp.fc1.weight is [12 8], the source's [20 8]") {
		t.Errorf("another shape: %v", err)
	}
	other := newModel(t, oracle, families()["vit"])
	if err := a.Params.CopyFrom(oracle.Backend, other.Params); err == nil || !strings.Contains(err.Error(), "the source has no embeddings.mask_token") {
		t.Errorf("another family: %v", err)
	}
	twin := newModel(t, oracle, small)
	twin.Params.Init(oracle.Backend, 1, nil)
	if err := twin.Params.CopyFrom(oracle.Backend, a.Params); err != nil {
		t.Fatal(err)
	}
	for i, p := range a.Params.All() {
		if diff := cmp.Diff(values(p.Value()), values(twin.Params.All()[i].Value())); diff != "" {
			t.Errorf("%s:\n%s", p.Name, diff)
		}
	}
}

// Frozen parameters hold no gradient memory; unfreezing brings it back.
func TestFreezingFreesGradients(t *testing.T) {
	v := newModel(t, oracle, families()["dinov2"])
	v.FreezeBlocks(1, true)
	for _, p := range v.Params.All() {
		if (p.Grad() != nil) != (p.Depth > 1) {
			t.Errorf("%s at depth %d: gradient %v", p.Name, p.Depth, p.Grad())
		}
	}
	if n := v.Params.Unfreeze(func(p *nn.Param) bool { return p.Depth == 1 }); n != 18 {
		t.Errorf("unfroze %d tensors, want 18", n)
	}
	if all, trains := v.Params.Count(); trains >= all || v.Params.ByName("encoder.layer.0.norm1.weight").Grad() == nil {
		t.Errorf("%d of %d elements train", trains, all)
	}
	query := "encoder.layer.1.attention.attention.query.weight"
	v.Params.Freeze(func(p *nn.Param) bool { return p.Name == query })
	if v.Params.ByName(query).Grad() == nil {
		t.Error("the query shares its gradient memory with key and value, which train")
	}
}
