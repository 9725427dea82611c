package optim_test

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/ref"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/tensor"
)

type fixture struct {
	Cosine          []float64
	CosinePlain     []float64 `json:"cosine_plain"`
	WarmupCosine    []float64 `json:"warmup_cosine"`
	WarmupCosineAll []float64 `json:"warmup_cosine_all"`
	Linear          []float64
	Trajectories    []struct {
		Clip             string
		LastLayer        string `json:"last_layer"`
		Student, Teacher map[string][]float64
	}
}

func load(t *testing.T) fixture {
	t.Helper()
	raw, err := os.ReadFile("testdata/optim.json")
	if err != nil {
		t.Fatal(err)
	}
	var f fixture
	if err := json.Unmarshal(raw, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func near(limit float64) cmp.Option {
	return cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) <= limit })
}

func TestSchedules(t *testing.T) {
	f := load(t)
	cases := []struct {
		name string
		s    optim.Schedule
		want []float64
		past float64
	}{
		{"cosine with freeze and warm-up", optim.Cosine{Start: 0.1, Base: 2, Final: 0.3, Freeze: 2, Warmup: 4, Total: 15}, f.Cosine, 0.3},
		{"momentum", optim.Cosine{Base: 0.996, Final: 1, Total: 7}, f.CosinePlain, 1},
		{"DINOv3 with a tail", optim.WarmupCosine{Start: 0.1, Peak: 2, End: 0.3, Warmup: 4, Cosine: 8, Total: 15}, f.WarmupCosine, 0.3},
		{"DINOv3 without", optim.WarmupCosine{Peak: 1, End: 0.01, Warmup: 3, Total: 12}, f.WarmupCosineAll, 0.01},
		{"temperature", optim.Linear{Start: 0.04, End: 0.07, Warmup: 5}, f.Linear, 0.07},
		{"constant", optim.Constant(3), []float64{3, 3}, 3},
		{"by epoch", optim.Every{Length: 2, Of: optim.Linear{Start: 1, End: 2, Warmup: 2}}, []float64{1, 1, 2, 2}, 2},
	}
	for _, c := range cases {
		var got []float64
		for i := range c.want {
			got = append(got, c.s.At(i))
		}
		if diff := cmp.Diff(c.want, got, near(1e-14)); diff != "" {
			t.Errorf("%s (-numpy +here):\n%s", c.name, diff)
		}
		if got := c.s.At(1000); got != c.past {
			t.Errorf("%s: past the end it is %g, want %g", c.name, got, c.past)
		}
	}
}

func TestScaling(t *testing.T) {
	for _, c := range []struct {
		s    optim.Scaling
		lr   float64
		b    int
		want float64
	}{
		{optim.NoScaling, 0.5, 64, 0.5},
		{optim.Linear256, 5e-4, 512, 1e-3},
		{optim.Sqrt1024, 0.004, 2048, 0.004 * math.Sqrt2},
		{optim.FourSqrt1024, 0.001, 1024, 0.004},
	} {
		if got := c.s.Scale(c.lr, c.b); math.Abs(got-c.want) > 1e-15 {
			t.Errorf("rule %d: %g for batch %d gives %g, want %g", c.s, c.lr, c.b, got, c.want)
		}
	}
}

func wave(name string, n int, step float64) []float64 {
	start := 0
	for _, b := range []byte(name) {
		start += int(b)
	}
	out := make([]float64, n)
	for i := range out {
		out[i] = math.Sin(float64(start%997) + step*float64(i+1))
	}
	return out
}

var oracle = nn.Builder{Backend: ref.New(), DType: tensor.F64, Train: true}

func head(t *testing.T, b nn.Builder) *nn.Head {
	t.Helper()
	h, err := b.NewHead(nn.HeadConfig{In: 3, Hidden: 4, Bottleneck: 2, Prototypes: 5, Layers: 2, WeightNorm: true, Depth: 3})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range h.Params.All() {
		copy(p.Value().F64(), wave(p.Name, p.Shape.Len(), 0.7))
	}
	return h
}

// setGrads plays a backward pass.
func setGrads(h *nn.Head, step int) {
	tape := oracle.NewTape()
	for _, p := range h.Params.All() {
		if p.Frozen {
			continue
		}
		g, _ := tape.GradBuffer(p.Weight.Var)
		for i, x := range wave(p.Name+strconv.Itoa(step), p.Shape.Len(), 0.9) {
			g.F64()[i] = 2 * x
		}
	}
}

func state(ps *nn.Params) map[string][]float64 {
	m := map[string][]float64{}
	for _, p := range ps.All() {
		m[p.Name] = slices.Clone(p.Value().F64())
	}
	return m
}

var options = optim.Options{Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, MaxNorm: 1.5, LayerDecay: 0.8}

// Student and teacher after six steps against torch.optim.AdamW, with both treatments of the last layer.
func TestTrajectories(t *testing.T) {
	for _, tr := range load(t).Trajectories {
		t.Run(tr.Clip+" "+tr.LastLayer, func(t *testing.T) {
			student, teacher := head(t, oracle), head(t, oracle)
			o := options
			o.Clip = map[string]optim.Clip{"parameter": optim.ClipPerParameter, "module": optim.ClipPerModule}[tr.Clip]
			opt, err := optim.NewAdamW(oracle.Backend, []optim.Module{{Name: "head", Params: student.Params, Teacher: teacher.Params, Depth: 4}}, o)
			if err != nil {
				t.Fatal(err)
			}
			for step := range 6 {
				setGrads(student, step)
				s := optim.Step{LR: 0.02, WD: 0.3, Momentum: 0.9}
				if step < 2 {
					s.LastLayer = map[string]optim.LastLayer{"skipped": optim.LastLayerSkipped, "held": optim.LastLayerHeld}[tr.LastLayer]
				}
				opt.Step(s)
				student.Params.ZeroGrad()
			}
			if diff := cmp.Diff(tr.Student, state(student.Params), near(1e-12)); diff != "" {
				t.Errorf("student (-torch +here):\n%s", diff)
			}
			if diff := cmp.Diff(tr.Teacher, state(teacher.Params), near(1e-12)); diff != "" {
				t.Errorf("teacher (-torch +here):\n%s", diff)
			}
		})
	}
}

// Saving and restoring the state in the middle continues to the same bits.
func TestStateRoundTrip(t *testing.T) {
	run := func(interrupt bool) map[string][]float64 {
		student, teacher := head(t, oracle), head(t, oracle)
		modules := []optim.Module{{Name: "head", Params: student.Params, Teacher: teacher.Params, Depth: 4}}
		opt, err := optim.NewAdamW(oracle.Backend, modules, options)
		if err != nil {
			t.Fatal(err)
		}
		for step := range 6 {
			if interrupt && step == 3 {
				fresh, err := optim.NewAdamW(oracle.Backend, modules, options)
				if err != nil {
					t.Fatal(err)
				}
				for i, m := range fresh.State() {
					old := opt.State()[i]
					copy(m.M.F64(), old.M.F64())
					copy(m.V.F64(), old.V.F64())
					if err := fresh.SetUpdates(old.Name, old.Updates); err != nil {
						t.Fatal(err)
					}
				}
				opt = fresh
			}
			setGrads(student, step)
			s := optim.Step{LR: 0.02, WD: 0.3, Momentum: 0.9}
			if step < 2 {
				s.LastLayer = optim.LastLayerSkipped
			}
			opt.Step(s)
			student.Params.ZeroGrad()
		}
		return state(teacher.Params)
	}
	if diff := cmp.Diff(run(false), run(true)); diff != "" {
		t.Errorf("unbroken and resumed:\n%s", diff)
	}
}

// A parameter frozen for a while keeps weights and moments, has no gradient memory, and goes on as if the steps in
// between had not been.
func TestFreezeForAWhile(t *testing.T) {
	run := func(pause bool) map[string][]float64 {
		student := head(t, oracle)
		opt, err := optim.NewAdamW(oracle.Backend, []optim.Module{{Name: "head", Params: student.Params}}, optim.Options{Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, Clip: optim.ClipPerParameter})
		if err != nil {
			t.Fatal(err)
		}
		mlp := func(p *nn.Param) bool { return p.Name == "mlp.0.weight" }
		p := student.Params.ByName("mlp.0.weight")
		for step := range 4 {
			setGrads(student, step)
			opt.Step(optim.Step{LR: 0.02, WD: 0.3})
			student.Params.ZeroGrad()
			if step == 1 && pause {
				student.Params.Freeze(mlp)
				before := slices.Clone(p.Value().F64())
				for extra := range 3 {
					setGrads(student, 10+extra)
					opt.Step(optim.Step{LR: 0.02, WD: 0.3})
					student.Params.ZeroGrad()
				}
				if p.Grad() != nil {
					t.Error("a frozen parameter holds a gradient")
				}
				if diff := cmp.Diff(before, p.Value().F64()); diff != "" {
					t.Errorf("a frozen parameter moved:\n%s", diff)
				}
				student.Params.Unfreeze(mlp)
			}
		}
		return map[string][]float64{p.Name: slices.Clone(p.Value().F64())}
	}
	if diff := cmp.Diff(run(false), run(true)); diff != "" {
		t.Errorf("without and with a pause:\n%s", diff)
	}
}

// A gradient that is not finite changes nothing, and the step is not counted.
func TestNonFiniteGradientChangesNothing(t *testing.T) {
	student, teacher := head(t, oracle), head(t, oracle)
	opt, err := optim.NewAdamW(oracle.Backend, []optim.Module{{Name: "head", Params: student.Params, Teacher: teacher.Params}}, options)
	if err != nil {
		t.Fatal(err)
	}
	before, teacherBefore := state(student.Params), state(teacher.Params)
	setGrads(student, 0)
	student.Params.ByName("mlp.0.bias").Grad().F64()[1] = math.Inf(1)
	opt.Step(optim.Step{LR: 0.02, WD: 0.3, Momentum: 0.9})
	if diff := cmp.Diff(before, state(student.Params)); diff != "" {
		t.Errorf("student:\n%s", diff)
	}
	if diff := cmp.Diff(teacherBefore, state(teacher.Params)); diff != "" {
		t.Errorf("teacher:\n%s", diff)
	}
	if err := opt.Settle(); err != nil {
		t.Fatal(err)
	}
	for _, m := range opt.State() {
		if m.Updates != 0 {
			t.Errorf("%s counts %d updates, want 0", m.Name, m.Updates)
		}
	}
}

// Steps that did nothing leave no trace: not in what is trained from the start, not in what is thawed between or after
// them, and not in the counts of a checkpoint.
func TestMissedStepsLeaveNoTrace(t *testing.T) {
	run := func(missed map[int]bool) (map[string][]float64, []int) {
		student := head(t, oracle)
		opt, err := optim.NewAdamW(oracle.Backend, []optim.Module{{Name: "head", Params: student.Params}}, options)
		if err != nil {
			t.Fatal(err)
		}
		mlp := func(p *nn.Param) bool { return p.Name == "mlp.0.weight" }
		for i := range 9 {
			switch i {
			case 3:
				student.Params.Freeze(mlp)
			case 6:
				student.Params.Unfreeze(mlp)
			}
			last := optim.LastLayerTrains
			if i < 5 {
				last = optim.LastLayerSkipped
			}
			for range 2 {
				setGrads(student, i)
				if missed[i] {
					// The same step, first with a gradient that is not finite.
					student.Params.ByName("mlp.0.bias").Grad().F64()[1] = math.NaN()
				}
				opt.Step(optim.Step{LR: 0.02, WD: 0.3, Momentum: 0.9, LastLayer: last})
				student.Params.ZeroGrad()
				if !missed[i] {
					break
				}
				missed = without(missed, i)
			}
		}
		if err := opt.Settle(); err != nil {
			t.Fatal(err)
		}
		var counts []int
		for _, m := range opt.State() {
			counts = append(counts, m.Updates)
		}
		return state(student.Params), counts
	}
	want, counts := run(nil)
	for name, missed := range map[string]map[int]bool{
		"one": {1: true}, "before a thaw": {0: true, 4: true}, "around all changes": {2: true, 3: true, 4: true, 5: true, 6: true, 8: true},
	} {
		got, n := run(missed)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: without and with missed steps:\n%s", name, diff)
		}
		if diff := cmp.Diff(counts, n); diff != "" {
			t.Errorf("%s: updates:\n%s", name, diff)
		}
	}
}

// A missed step is counted once for parameters that a checkpoint gave different numbers of updates.
func TestMissedStepAfterLoading(t *testing.T) {
	student := head(t, oracle)
	opt, err := optim.NewAdamW(oracle.Backend, []optim.Module{{Name: "head", Params: student.Params}}, options)
	if err != nil {
		t.Fatal(err)
	}
	if err := opt.SetUpdates("head/mlp.0.weight", 5); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		setGrads(student, i)
		if i == 1 {
			student.Params.ByName("mlp.0.bias").Grad().F64()[1] = math.NaN()
		}
		opt.Step(optim.Step{LR: 0.02, WD: 0.3, Momentum: 0.9})
		student.Params.ZeroGrad()
	}
	if err := opt.Settle(); err != nil {
		t.Fatal(err)
	}
	for _, m := range opt.State() {
		want := 2
		if m.Name == "head/mlp.0.weight" {
			want = 7
		}
		if m.Updates != want {
			t.Errorf("%s counts %d updates, want %d", m.Name, m.Updates, want)
		}
	}
}

// without is the set without one number.
func without(set map[int]bool, i int) map[int]bool {
	out := maps.Clone(set)
	delete(out, i)
	return out
}

// Layer decay, the patch embedding's factor and weight decay by kind of parameter, over a whole model.
func TestGroups(t *testing.T) {
	v, err := oracle.NewViT(nn.ViTConfig{
		Family: nn.FamilyDINOv2, Channels: 1, PatchSize: 2, ImageSize: 4, Dim: 4, Depth: 2, Heads: 1, MLPDim: 4,
		Act: kernels.GELU, NormEps: 1e-6, QueryBias: true, KeyBias: true, ValueBias: true, ProjBias: true, MLPBias: true,
		LayerScale: true, MaskToken: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	v.Params.Init(oracle.Backend, 1, nil)
	h := head(t, oracle)
	o := options
	o.Clip, o.LayerDecay, o.PatchEmbedLR = optim.ClipPerModule, 0.5, 0.2
	opt, err := optim.NewAdamW(oracle.Backend, []optim.Module{
		{Name: "backbone", Params: v.Params, Depth: 2}, {Name: "head", Params: h.Params, Depth: 2, WDMul: 0.7},
	}, o)
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		LR, WD float64
		Group  int
	}
	got := map[string]row{}
	for i, m := range opt.State() {
		e := opt.Table.Entries[i]
		got[m.Name] = row{e.LRMul, e.WDMul, e.Group}
	}
	for name, want := range map[string]row{
		"backbone/embeddings.cls_token":                           {0.125, 1, 0},
		"backbone/embeddings.mask_token":                          {0.125, 1, 0},
		"backbone/embeddings.position_embeddings":                 {0.125, 1, 0},
		"backbone/embeddings.patch_embeddings.projection.weight":  {0.025, 1, 0},
		"backbone/embeddings.patch_embeddings.projection.bias":    {0.025, 0, 0},
		"backbone/encoder.layer.0.norm1.weight":                   {0.25, 0, 0},
		"backbone/encoder.layer.0.attention.attention.key.weight": {0.25, 1, 0},
		"backbone/encoder.layer.1.layer_scale1.lambda1":           {0.5, 0, 0},
		"backbone/encoder.layer.1.mlp.fc1.bias":                   {0.5, 0, 0},
		"backbone/layernorm.bias":                                 {1, 0, 0},
		"head/mlp.0.weight":                                       {1, 0.7, 1},
		"head/last_layer.weight_g":                                {1, 0.7, 1},
		"head/last_layer.weight_v":                                {1, 0.7, 1},
	} {
		if name[:4] == "head" {
			want.LR = 1
		}
		if diff := cmp.Diff(want, got[name], near(1e-15)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if diff := cmp.Diff([]string{"backbone", "head"}, opt.Groups()); diff != "" {
		t.Error(diff)
	}
}

// Stacked query, key and value are one tensor to per-parameter clipping, as in the reference code.
func TestPerParameterClipSeesStackedLayersAsOne(t *testing.T) {
	v, err := oracle.NewViT(nn.ViTConfig{
		Channels: 1, PatchSize: 2, ImageSize: 4, Dim: 4, Depth: 1, Heads: 1, MLPDim: 4, NormEps: 1e-6,
		QueryBias: true, KeyBias: true, ValueBias: true, ProjBias: true, MLPBias: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	o := options
	o.Clip = optim.ClipPerParameter
	opt, err := optim.NewAdamW(oracle.Backend, []optim.Module{{Name: "b", Params: v.Params}}, o)
	if err != nil {
		t.Fatal(err)
	}
	groups := map[string]int{}
	for i, m := range opt.State() {
		groups[m.Name] = opt.Table.Entries[i].Group
	}
	const at = "b/encoder.layer.0.attention.attention."
	if groups[at+"query.weight"] != groups[at+"value.weight"] || groups[at+"query.weight"] == groups[at+"query.bias"] {
		t.Errorf("groups of query, value, bias: %d %d %d", groups[at+"query.weight"], groups[at+"value.weight"], groups[at+"query.bias"])
	}
	if len(opt.Groups()) != len(v.Params.All())-4 {
		t.Errorf("%d groups for %d parameters", len(opt.Groups()), len(v.Params.All()))
	}
}

func TestErrors(t *testing.T) {
	h := head(t, oracle)
	h.Params.FreezeAll()
	if _, err := optim.NewAdamW(oracle.Backend, []optim.Module{{Name: "head", Params: h.Params}}, options); err == nil {
		t.Error("a model with nothing to train is accepted")
	}
	small, err := oracle.NewHead(nn.HeadConfig{In: 3, Hidden: 4, Bottleneck: 2, Prototypes: 6, Layers: 2, WeightNorm: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := optim.NewAdamW(oracle.Backend, []optim.Module{{Name: "head", Params: head(t, oracle).Params, Teacher: small.Params}}, options); err == nil {
		t.Error("a teacher of another shape is accepted")
	}
	opt, err := optim.NewAdamW(oracle.Backend, []optim.Module{{Name: "head", Params: head(t, oracle).Params}}, options)
	if err != nil {
		t.Fatal(err)
	}
	if opt.SetUpdates("head/nothing", 1) == nil || opt.SetUpdates("head/mlp.0.weight", -1) == nil {
		t.Error("SetUpdates accepts an unknown name or a negative count")
	}
}
