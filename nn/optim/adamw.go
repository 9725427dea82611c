package optim

import (
	"fmt"
	"math"
	"slices"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
)

// Clip selects the parameters whose gradients share one norm for clipping.
type Clip uint8

// The clipping modes of the recipes.
const (
	ClipGlobal       Clip = iota // one norm over everything
	ClipPerParameter             // each parameter by its own norm (DINO v1); stacked layers count as one
	ClipPerModule                // each Module by its own norm (DINOv2, DINOv3)
)

// Module is one part of the student with its own clip group and teacher counterpart.
type Module struct {
	Name   string // "backbone", "dino_head", "ibot_head"
	Params *nn.Params
	// Teacher holds the moving averages of the parameters of the same names; nil for none.
	Teacher *nn.Params
	// Depth is the number of blocks of the trunk, for layer decay.
	Depth int
	// WDMul multiplies the weight decay of this module (dino_head_wd_multiplier); 0 means 1.
	WDMul float64
}

// Options are the constants of an optimiser.
type Options struct {
	Beta1, Beta2, Eps float64
	Clip              Clip
	MaxNorm           float64 // 0 for no clipping
	// LayerDecay multiplies the rate of a parameter by LayerDecay^(depth+1-its depth); 1 or 0 for none.
	LayerDecay float64
	// PatchEmbedLR multiplies the rate of the patch embedding on top; 0 means 1.
	PatchEmbedLR float64
	// NoTokenDecay exempts CLS, mask, register and position parameters and the gains of weight-normalised layers
	// from weight decay. The reference implementations decay them.
	NoTokenDecay bool
}

// LastLayer selects how a step treats the prototype layers.
type LastLayer uint8

// The treatments of the last layer in the first iterations of the recipes.
const (
	LastLayerTrains  LastLayer = iota
	LastLayerSkipped           // gradient dropped, moments and step count untouched (DINO v1)
	LastLayerHeld              // learning rate 0, moments move (DINOv2, DINOv3)
)

// Step holds the settings that change from step to step.
type Step struct {
	LR, WD    float64
	Momentum  float64 // teacher
	LastLayer LastLayer
}

// entry is one trained parameter with the values that its table row is computed from.
type entry struct {
	module  int
	param   *nn.Param
	lrMul   float64
	updates int // tried
	counter int // of AdamW.counters
}

// AdamW is the optimiser of a student made of modules, with the teacher's moving average.
type AdamW struct {
	// Table lists everything trained, in the order of the modules and their parameters.
	Table *kernels.ParamTable

	backend kernels.Backend
	options Options
	modules []Module
	entries []entry
	index   map[string]int
	last    LastLayer
	parts   []part // entries by the number of updates they have seen
	built   bool
	squares *tensor.Tensor
	scales  *tensor.Tensor
	groups  []string

	// counters says how many of the updates that were tried did nothing, because a loss or a gradient was not finite:
	// [entries] on the device, which alone knows it while results are not read back. Entries that have always been
	// updated together share one; used is the number of them in use.
	counters *tensor.Tensor
	used     int
	missed   *tensor.Tensor // [1]: whether the last update did nothing
}

// part holds the entries that share an update count.
type part struct {
	table   kernels.ParamTable
	members []int
	updates int
	counter int
	idle    bool // frozen or skipped: only the teacher follows
}

// NewAdamW allocates the moments of every parameter that is not frozen. Parameters that are frozen at this time are
// left out for good, because their teacher equals them from the start. A parameter that is frozen later keeps its
// moments.
func NewAdamW(b kernels.Backend, modules []Module, o Options) (*AdamW, error) {
	a := &AdamW{backend: b, options: o, modules: modules, index: map[string]int{}, Table: &kernels.ParamTable{}}
	owner := map[*nn.Weight]int{}
	for mi, m := range modules {
		for _, p := range m.Params.All() {
			if p.Frozen || p.Shape.Len() == 0 {
				continue
			}
			group := 0
			switch o.Clip {
			case ClipPerParameter:
				g, ok := owner[p.Weight]
				if !ok {
					g = len(a.groups)
					owner[p.Weight] = g
					a.groups = append(a.groups, m.Name+"."+p.Name)
				}
				group = g
			case ClipPerModule:
				if len(a.groups) == 0 || a.groups[len(a.groups)-1] != m.Name {
					a.groups = append(a.groups, m.Name)
				}
				group = len(a.groups) - 1
			default:
				if len(a.groups) == 0 {
					a.groups = append(a.groups, "all")
				}
			}
			e, err := a.newEntry(mi, p)
			if err != nil {
				return nil, err
			}
			e.Group = group
			key := m.Name + "/" + p.Name
			if _, dup := a.index[key]; dup {
				return nil, fmt.Errorf("optim: two modules hold %s", key)
			}
			a.index[key] = len(a.entries)
			a.Table.Entries = append(a.Table.Entries, e)
			a.entries = append(a.entries, entry{module: mi, param: p, lrMul: e.LRMul})
		}
	}
	if len(a.entries) == 0 {
		return nil, fmt.Errorf("optim: every parameter is frozen; there is nothing to train")
	}
	a.Table.Groups = len(a.groups)
	var err error
	stat := a.Table.Entries[0].Param.DType()
	if a.squares, err = tensor.New(b.Allocator(), stat, len(a.groups)); err == nil {
		a.scales, err = tensor.New(b.Allocator(), stat, len(a.groups))
	}
	if err == nil {
		a.counters, err = tensor.New(b.Allocator(), stat, len(a.entries))
	}
	if err == nil {
		a.missed, err = tensor.New(b.Allocator(), stat, 1)
	}
	if err != nil {
		return nil, fmt.Errorf("optim: %w", err)
	}
	a.resetCounters()
	return a, nil
}

func (a *AdamW) newEntry(module int, p *nn.Param) (kernels.ParamEntry, error) {
	m, o := a.modules[module], a.options
	if p.Grad() == nil {
		return kernels.ParamEntry{}, fmt.Errorf("optim: %s of %s has no gradient: the model was built without Train", p.Name, m.Name)
	}
	e := kernels.ParamEntry{Param: flat(p.Value()), Grad: flat(p.Grad()), LRMul: o.lrMul(p, m.Depth), WDMul: o.wdMul(p, m.WDMul)}
	if p.Weight.Value != p.Weight.Master {
		e.Half = flat(p.Compute())
	}
	if m.Teacher != nil {
		q := m.Teacher.ByName(p.Name)
		if q == nil || !q.Shape.Equal(p.Shape) {
			return e, fmt.Errorf("optim: the teacher of %s has no %s of shape %s", m.Name, p.Name, p.Shape)
		}
		e.EMA = flat(q.Value())
		if q.Weight.Value != q.Weight.Master {
			e.EMA16 = flat(q.Compute())
		}
	}
	for _, dst := range []**tensor.Tensor{&e.M, &e.V} {
		t, err := tensor.New(a.backend.Allocator(), e.Param.DType(), e.Param.Len())
		if err != nil {
			return e, fmt.Errorf("optim: moments of %s: %w", p.Name, err)
		}
		a.backend.Fill(t, 0)
		*dst = t
	}
	return e, nil
}

func flat(t *tensor.Tensor) *tensor.Tensor { return t.Reshape(t.Len()) }

// lrMul returns the factor of a parameter's learning rate from layer decay and from being the patch embedding's.
func (o Options) lrMul(p *nn.Param, depth int) float64 {
	mul := 1.0
	if o.LayerDecay != 0 && o.LayerDecay != 1 {
		mul = math.Pow(o.LayerDecay, float64(max(depth+1-p.Depth, 0)))
	}
	if p.PatchEmbed && o.PatchEmbedLR != 0 {
		mul *= o.PatchEmbedLR
	}
	return mul
}

// wdMul returns the factor of a parameter's weight decay: 0 for biases, norms and LayerScale.
func (o Options) wdMul(p *nn.Param, module float64) float64 {
	switch p.Kind {
	case nn.Bias, nn.NormGain, nn.Gamma:
		return 0
	case nn.Token, nn.Position, nn.Gain:
		if o.NoTokenDecay {
			return 0
		}
	}
	if module != 0 {
		return module
	}
	return 1
}

// Groups names the clip groups, in the order of Squares.
func (a *AdamW) Groups() []string { return a.groups }

// Squares returns the sums of the squared gradients of the clip groups, [groups] on the device. Parameters without a
// gradient in this step count as zero. Parameters that the step skips or that are frozen are left out. Ranks that hold
// shards add up their sums before Apply, which takes the same last.
func (a *AdamW) Squares(last LastLayer) *tensor.Tensor {
	a.setFlags(last)
	for _, m := range a.modules {
		m.Params.FillMissing(a.backend)
	}
	a.backend.GradSquares(a.squares, a.Table)
	return a.squares
}

// Apply clips by the norms in Squares, updates student and teacher, and counts the step. If a norm or one of losses,
// which may be nil, is not finite the step is as if it had not been: nothing is changed, and it is not counted. The
// device sees to that by itself; nobody has to look.
func (a *AdamW) Apply(s Step, losses *tensor.Tensor) {
	a.setFlags(s.LastLayer)
	a.backend.Guard(kernels.Guard{Scale: a.scales, Missed: a.missed, Squares: a.squares, Losses: losses, MaxNorm: a.options.MaxNorm})
	for i := range a.parts {
		p := &a.parts[i]
		p.updates++
		counter := a.counters.Rows(p.counter, p.counter+1)
		a.backend.AdamW(&p.table, a.scales, kernels.AdamWStep{
			Step: p.updates, Missed: counter, LR: s.LR, WD: s.WD,
			Beta1: a.options.Beta1, Beta2: a.options.Beta2, Eps: a.options.Eps, Momentum: s.Momentum,
		})
		if p.idle {
			continue
		}
		for _, k := range p.members {
			a.entries[k].updates++
		}
	}
	// Parts whose updates were counted from different numbers, as a checkpoint gives them, may share a counter.
	for i := range a.parts {
		p := &a.parts[i]
		counted := slices.ContainsFunc(a.parts[:i], func(q part) bool { return !q.idle && q.counter == p.counter })
		if !p.idle && !counted {
			a.backend.Axpy(a.counters.Rows(p.counter, p.counter+1), 1, a.missed)
		}
	}
}

// Scales is the clip scales of the last Apply, [groups] on the device: NaN where it did nothing.
func (a *AdamW) Scales() *tensor.Tensor { return a.scales }

// Step is Squares and Apply.
func (a *AdamW) Step(s Step) {
	a.Squares(s.LastLayer)
	a.Apply(s, nil)
}

// resetCounters makes all entries share one counter, of 0.
func (a *AdamW) resetCounters() {
	a.backend.Fill(a.counters, 0)
	for i := range a.entries {
		a.entries[i].counter = 0
	}
	a.used, a.built = 1, false
}

// Settle takes the updates that did nothing, which the device has counted, off the counts that State reports. It waits for
// the device. The error says that the device counts what cannot be: its memory is damaged.
func (a *AdamW) Settle() error {
	missed := kernels.ToHost(a.backend, a.counters)
	any := false
	for i := range a.entries {
		e := &a.entries[i]
		n := missed.At(e.counter)
		if !(n >= 0 && n <= float64(e.updates) && n == math.Trunc(n)) {
			return fmt.Errorf("optim: the device says that %v of %d updates of %s were not carried out", n, e.updates, e.param.Name)
		}
		any = any || n > 0
	}
	if !any {
		return nil
	}
	for i := range a.entries {
		e := &a.entries[i]
		e.updates -= int(missed.At(e.counter))
	}
	a.resetCounters()
	return nil
}

// fork gives the idle entries of a counter that others go on to use one of their own, with what it holds now.
func (a *AdamW) fork() {
	active, forks := map[int]bool{}, map[int]int{}
	for i := range a.entries {
		if row := &a.Table.Entries[i]; !row.Frozen && !row.Skip {
			active[a.entries[i].counter] = true
		}
	}
	for i := range a.entries {
		e, row := &a.entries[i], &a.Table.Entries[i]
		if !row.Frozen && !row.Skip || !active[e.counter] {
			continue
		}
		to, ok := forks[e.counter]
		if !ok {
			to = a.used
			a.used++
			forks[e.counter] = to
			a.backend.Copy(a.counters.Rows(to, to+1), a.counters.Rows(e.counter, e.counter+1))
		}
		e.counter = to
	}
}

// current reports whether the tables match the frozen parameters and the treatment of the last layer.
func (a *AdamW) current(last LastLayer) bool {
	if !a.built || a.last != last {
		return false
	}
	for i := range a.entries {
		if a.entries[i].param.Frozen != a.Table.Entries[i].Frozen {
			return false
		}
	}
	return true
}

// setFlags updates the tables to the frozen parameters and the treatment of the last layer.
func (a *AdamW) setFlags(last LastLayer) {
	if a.current(last) {
		return
	}
	a.built, a.last = true, last
	a.Table.Device = nil
	a.parts = a.parts[:0]
	for i := range a.entries {
		e, row := &a.entries[i], &a.Table.Entries[i]
		row.Frozen, row.Grad = e.param.Frozen, nil // the memory of a gradient goes and comes with freezing
		if g := e.param.Grad(); g != nil {
			row.Grad = flat(g)
		}
		row.Skip = e.param.LastLayer && last == LastLayerSkipped
		row.LRMul = e.lrMul
		if e.param.LastLayer && last == LastLayerHeld {
			row.LRMul = 0
		}
	}
	a.fork()
	for i := range a.entries {
		a.place(i)
	}
	for i := range a.parts {
		a.parts[i].table.Groups = a.Table.Groups
	}
}

// place moves entry i to the part of its update count. Bias correction counts the updates of each parameter, as
// PyTorch's optimisers do, so that one that starts late starts with the full correction.
func (a *AdamW) place(i int) {
	row, e := a.Table.Entries[i], &a.entries[i]
	idle := row.Frozen || row.Skip
	for j := range a.parts {
		p := &a.parts[j]
		if p.updates == e.updates && p.counter == e.counter && p.idle == idle {
			p.table.Entries = append(p.table.Entries, row)
			p.members = append(p.members, i)
			return
		}
	}
	a.parts = append(a.parts, part{
		table: kernels.ParamTable{Entries: []kernels.ParamEntry{row}}, members: []int{i}, updates: e.updates, counter: e.counter, idle: idle,
	})
}

// Moment is the state of one parameter, for a checkpoint.
type Moment struct {
	Name    string // module/parameter
	M, V    *tensor.Tensor
	Updates int
}

// State lists the moments in table order. The tensors are the live ones. The counts are those of the last Settle and of
// the updates tried since.
func (a *AdamW) State() []Moment {
	out := make([]Moment, len(a.entries))
	for i, e := range a.entries {
		row := a.Table.Entries[i]
		out[i] = Moment{
			Name: a.modules[e.module].Name + "/" + e.param.Name,
			M:    row.M.Reshape(e.param.Shape...), V: row.V.Reshape(e.param.Shape...), Updates: e.updates,
		}
	}
	return out
}

// SetUpdates restores the update count of one parameter of State, by its name; the moments themselves are
// written into State's tensors.
func (a *AdamW) SetUpdates(name string, updates int) error {
	i, ok := a.index[name]
	if !ok {
		return fmt.Errorf("optim: the checkpoint has moments of %s, which is not trained here", name)
	}
	if updates < 0 {
		return fmt.Errorf("optim: %s: the checkpoint counts %d updates; it must be 0 or more", name, updates)
	}
	if err := a.Settle(); err != nil {
		return err
	}
	a.entries[i].updates = updates
	a.built = false
	return nil
}
