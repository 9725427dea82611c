package nn

import (
	"fmt"
	"math"
	"regexp"
	"strings"

	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// LoRABias says which biases are trained beside the adapters, with PEFT's words.
type LoRABias uint8

// The bias modes of PEFT.
const (
	LoRABiasNone LoRABias = iota // "none"
	LoRABiasAll                  // "all": every bias of the model
	LoRABiasOnly                 // "lora_only": the biases of adapted layers
)

// LoRAConfig describes low-rank adaptation (Hu et al., "LoRA", 2021; rsLoRA: Kalajdzievski, 2023).
type LoRAConfig struct {
	Rank    int
	Alpha   float64
	Dropout float64
	RSLoRA  bool // scale alpha/√r instead of alpha/r
	Bias    LoRABias
	// Targets lists the modules to adapt, by PEFT's rule for target_modules; see MatchModules.
	Targets []string
	// Pattern is a regular expression for the whole name of a module. It is used when Targets is nil.
	Pattern string
	// Ranks and Alphas override Rank and Alpha for single modules, by their whole names.
	Ranks  map[string]int
	Alphas map[string]float64
	// Gaussian starts A at N(0, 1/r²) instead of U(±1/√in).
	Gaussian bool
}

// Adapter is a LoRA adapter on one part of a Linear. It adds scale·(x·Aᵀ)·Bᵀ to the part's output.
type Adapter struct {
	Module  string
	A       *Weight // [r, in]
	B       *Weight // [out, r]
	Scale   float64
	Dropout float64
	Lo, Hi  int // rows of the Linear's W

	linear *Linear
	part   int // of linear
	id     uint32
	merged bool
}

// loraPurpose separates the random stream of adapter dropout from other streams of the seed.
const loraPurpose = 0x01_00_00_05

// MatchModules is PEFT's rule for target_modules: a module matches an entry that it equals or ends with after a
// dot.
func MatchModules(targets ...string) func(module string) bool {
	return func(module string) bool {
		for _, s := range targets {
			if module == s || strings.HasSuffix(module, "."+s) {
				return true
			}
		}
		return false
	}
}

// MatchPattern is PEFT's rule for a single string: a regular expression for the whole name.
func MatchPattern(pattern string) (func(module string) bool, error) {
	re, err := regexp.Compile("^(?:" + pattern + ")$")
	if err != nil {
		return nil, fmt.Errorf("lora target pattern %q: %w", pattern, err)
	}
	return re.MatchString, nil
}

// matcher returns the predicate of Targets or Pattern. The error names a pattern that is no regular expression.
func (c LoRAConfig) matcher() (func(module string) bool, error) {
	if c.Targets == nil && c.Pattern != "" {
		return MatchPattern(c.Pattern)
	}
	return MatchModules(c.Targets...), nil
}

// AddLoRA freezes the trunk and puts adapters on the modules that match. A module whose weight is frozen by
// FreezeBlocks already gets none. The adapters are registered in Params as "<module>.lora_A.weight" and
// "<module>.lora_B.weight"; they are undefined until Params.Init or a loader writes them. It fails when nothing
// matches.
func (b Builder) AddLoRA(v *ViT, c LoRAConfig) ([]*Adapter, error) {
	if c.Rank < 1 {
		return nil, fmt.Errorf("lora_r is %d; it must be at least 1", c.Rank)
	}
	if c.Dropout < 0 || c.Dropout >= 1 {
		return nil, fmt.Errorf("lora_dropout is %g; it must be in [0, 1)", c.Dropout)
	}
	match, err := c.matcher()
	if err != nil {
		return nil, err
	}
	m := &maker{Builder: b, params: v.Params}
	var adapters []*Adapter
	biases := map[*Param]bool{}
	for _, l := range v.Linears() {
		for i, part := range l.Parts {
			if !match(part.Name) || part.weight.Frozen {
				continue
			}
			r, alpha := c.Rank, c.Alpha
			if own, ok := c.Ranks[part.Name]; ok {
				r = own
			}
			if own, ok := c.Alphas[part.Name]; ok {
				alpha = own
			}
			a := &Adapter{
				Module: part.Name, Dropout: c.Dropout, Lo: part.Lo, Hi: part.Hi, linear: l, part: i, id: uint32(len(adapters)),
			}
			a.Scale = alpha / float64(r)
			if c.RSLoRA {
				a.Scale = alpha / math.Sqrt(float64(r))
			}
			in := l.In()
			a.A, a.B = m.weight(r, in), m.weight(part.Hi-part.Lo, r)
			init := fanIn(in)
			if c.Gaussian {
				init = Init{Normal, 1 / float64(r)}
			}
			pa := Param{Name: part.Name + ".lora_A.weight", Shape: tensor.Shape{r, in}, Depth: part.weight.Depth, Init: init}
			pb := Param{Name: part.Name + ".lora_B.weight", Shape: tensor.Shape{part.Hi - part.Lo, r}, Depth: part.weight.Depth}
			if s := part.weight.Shape; len(s) == 4 { // a convolution, as PEFT stores it
				pa.Shape = tensor.Shape{r, s[1], s[2], s[3]}
				pb.Shape = tensor.Shape{s[0], r, 1, 1}
			}
			m.whole(a.A, pa)
			m.whole(a.B, pb)
			if m.err != nil {
				return nil, fmt.Errorf("nn: adapter for %s: %w", part.Name, m.err)
			}
			if part.bias != nil && c.Bias == LoRABiasOnly {
				biases[part.bias] = true
			}
			adapters = append(adapters, a)
		}
	}
	if len(adapters) == 0 {
		return nil, fmt.Errorf("lora target_modules match no unfrozen linear layer of the model (%s)", v.Config.Family)
	}
	own := map[*Weight]bool{}
	for _, a := range adapters {
		a.linear.Adapters = append(a.linear.Adapters, a)
		own[a.A], own[a.B] = true, true
	}
	for _, p := range v.Params.list {
		p.Frozen = p.Frozen || !own[p.Weight] && !biases[p] && (c.Bias != LoRABiasAll || !strings.HasSuffix(p.Name, ".bias"))
	}
	if err := m.done("adapters"); err != nil {
		return nil, err
	}
	return adapters, nil
}

// forward adds the adapter's product to its part of y.
func (a *Adapter) forward(t *autograd.Tape, x, y, gamma *autograd.Var, rows *tensor.Tensor, d Draw) {
	if a.merged {
		return
	}
	in := x
	if d.Train && a.Dropout > 0 {
		in = t.Dropout(x, a.Dropout, d.Seed^uint64(loraPurpose+a.id)<<32^uint64(d.Part), d.Step)
	}
	t.LowRank(autograd.LowRank{
		Y: y, X: in, A: a.A.Var, B: a.B.Var, Col: a.Lo, Scale: a.Scale, Gamma: gamma, RowScale: rows,
	})
	if in != x {
		t.Release(in)
	}
}

// Merge adds scale·B·A to the layer's weights; Forward then skips the adapter. Unmerge subtracts it again, up to
// rounding. Merging twice, or unmerging an adapter that is not merged, does nothing.
func (a *Adapter) Merge(b kernels.Backend) { a.fold(b, true) }

// Unmerge subtracts what Merge added.
func (a *Adapter) Unmerge(b kernels.Backend) { a.fold(b, false) }

func (a *Adapter) fold(b kernels.Backend, merge bool) {
	if a.merged == merge {
		return
	}
	scale := a.Scale
	if !merge {
		scale = -scale
	}
	part := &a.linear.Parts[a.part]
	out, w := part.rows(), part.weight
	b.Gemm(kernels.Gemm{
		M: a.Hi - a.Lo, N: a.linear.In(), K: a.A.Dim(0), Out: out, A: a.B.Master, B: a.A.Master, Alpha: scale, Accumulate: true,
	})
	if w.Weight.Value != w.Weight.Master {
		b.Copy(w.Weight.Value.Rows(w.Lo, w.Hi), out)
	}
	a.merged = merge
}
