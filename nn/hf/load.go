package hf

import (
	"fmt"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
	"github.com/dino-mx/dmx/tensor/safetensors"
)

// Allow relaxes strict loading: it accepts weights that lack tensors of the model, that hold tensors the model does
// not have, or that are NaN or infinite.
type Allow struct{ Missing, Unexpected, NonFinite bool }

// Report returns what loading this checkpoint into its own architecture would do. It reads no tensor data.
func (c *Checkpoint) Report() *Report {
	r := &Report{Ignored: c.ignored, Unexpected: c.unknown, Unsupported: c.unsupported}
	for _, s := range specs(c.Config.ViTConfig) {
		e := c.view.entries[s.name]
		switch {
		case e == nil && s.shape.Len() == 0:
			r.Initialised = append(r.Initialised, Item{Name: s.name, Why: "empty"})
		case e == nil:
			r.Missing = append(r.Missing, Item{Name: s.name, Why: c.notTensors[c.foreign[s.name]]})
		case !e.info.Shape.Equal(s.shape):
			r.Mismatched = append(r.Mismatched, Item{Name: s.name, Stored: c.from[s.name], Info: e.info,
				Why: fmt.Sprintf("stored as %s, the config says %s", e.info.Shape, s.shape)})
		case c.filled[s.name] != "":
			r.Initialised = append(r.Initialised, Item{Name: s.name, Why: c.filled[s.name]})
		default:
			r.Loaded = append(r.Loaded, Item{Name: s.name, Stored: c.from[s.name], Info: e.info})
		}
	}
	return r
}

// Build makes the model in memory of its own and loads its weights. The file is checked against the config before
// anything is allocated. Where the file may lack parameters, these have the family's initial values of seed 0.
func (c *Checkpoint) Build(b nn.Builder, allow Allow) (*nn.ViT, *Report, error) {
	return c.build(b, allow, nil)
}

// viewBytes is the size from which a matrix stays in the file. A smaller one is copied, which costs less than mapping
// the pages that it lies in.
const viewBytes = 64 << 10

// BuildViews is Build for inference while the checkpoint is open. Large matrices that the file holds in the working
// type are views of the mapped file, if the backend computes on host memory. All other tensors are read as by Build,
// and results have the same bits.
//
// Views are not looked at, so that a model starts without its file being read. CheckFinite finds the tensor when
// features turn out not to be finite.
//
// While the checkpoint is open the file may be replaced by a rename, but not be written to. Unchanged reports a write,
// and tensor.GuardMapped turns the fault of a truncated file into an error.
func (c *Checkpoint) BuildViews(b nn.Builder, allow Allow) (*nn.ViT, *Report, error) {
	shown := map[string]bool{}
	if kernels.OnHost(b.Backend) {
		b.Stored = func(name string) *tensor.Tensor {
			e := c.view.entries[name]
			if e == nil || e.info.NumBytes() < viewBytes || e.info.DType != safetensors.Of(b.DType) {
				return nil
			}
			t := c.view.View(name)
			shown[name] = t != nil
			return t
		}
	}
	return c.build(b, allow, shown)
}

// CheckFinite reads all weights of the model and returns an error that names the first tensor that holds a NaN or an
// infinity.
func (c *Checkpoint) CheckFinite() error {
	if err := safetensors.CheckFinite(c); err != nil {
		return fmt.Errorf("%s: %w", c.Path, err)
	}
	return nil
}

// NameNonFinite adds the tensor that CheckFinite finds, if it finds one, to an error about features.
func (c *Checkpoint) NameNonFinite(err error) error {
	if cause := c.CheckFinite(); cause != nil {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

// build makes the model and loads the parameters that are not views. shown lists the views.
func (c *Checkpoint) build(b nn.Builder, allow Allow, shown map[string]bool) (*nn.ViT, *Report, error) {
	r := c.Report()
	if err := r.Err(allow.Missing, allow.Unexpected); err != nil {
		return nil, r, fmt.Errorf("%s: %w", c.Path, err)
	}
	v, err := b.NewViT(c.Config.ViTConfig)
	if err != nil {
		return nil, r, err
	}
	r, err = c.load(v.Params, b.Backend, allow, shown)
	return v, r, err
}

// Load reads the parameters of a model from the checkpoint. It leaves parameters of adapters and heads unchanged.
func (c *Checkpoint) Load(ps *nn.Params, b kernels.Backend, allow Allow) (*Report, error) {
	return c.load(ps, b, allow, nil)
}

// load is Load without the parameters in shown, which are views.
func (c *Checkpoint) load(ps *nn.Params, b kernels.Backend, allow Allow, shown map[string]bool) (*Report, error) {
	r := c.Report()
	if err := r.Err(allow.Missing, allow.Unexpected); err != nil {
		return r, fmt.Errorf("%s: %w", c.Path, err)
	}
	missing := map[string]bool{}
	for _, it := range r.Missing {
		missing[it.Name] = true
	}
	var want []*nn.Param
	for _, s := range specs(c.Config.ViTConfig) {
		p := ps.ByName(s.name)
		if p == nil && s.shape.Len() > 0 {
			return r, fmt.Errorf("%s: the model has no parameter %s", c.Path, s.name)
		}
		if p == nil || missing[s.name] || s.shape.Len() == 0 {
			continue
		}
		if !p.Shape.Equal(s.shape) {
			return r, fmt.Errorf("%s: parameter %s is %s in the model and %s in the config", c.Path, s.name, p.Shape, s.shape)
		}
		if !shown[s.name] {
			want = append(want, p)
		}
	}
	if err := readParams(c, b, want, allow.NonFinite); err != nil {
		return r, fmt.Errorf("%s: %w", c.Path, err)
	}
	ps.Init(b, 0, func(p *nn.Param) bool { return missing[p.Name] })
	return r, nil
}

// stagingBytes bounds the host memory that parameters are read into before they are uploaded to an accelerator.
const stagingBytes = 64 << 20

// readParams reads parameters in host memory directly and uploads others from a bounded staging area. Values that are
// not finite are an error that names the tensor, unless nonFinite allows them.
func readParams(src safetensors.Source, b kernels.Backend, params []*nn.Param, nonFinite bool) error {
	read := safetensors.ReadFinite
	if nonFinite {
		read = safetensors.Read
	}
	direct := map[string]*tensor.Tensor{}
	var staged []*nn.Param
	for _, p := range params {
		if v := p.Value(); v.Device().Kind == tensor.CPU {
			direct[p.Name] = v
		} else {
			staged = append(staged, p)
		}
	}
	if err := read(src, direct); err != nil {
		return err
	}
	for len(staged) > 0 {
		host := map[string]*tensor.Tensor{}
		n := 0
		size := 0
		for n < len(staged) && (n == 0 || size+staged[n].Value().NumBytes() <= stagingBytes) {
			v := staged[n].Value()
			t, err := tensor.New(tensor.Host, v.DType(), v.Shape()...)
			if err != nil {
				return err
			}
			host[staged[n].Name] = t
			size += v.NumBytes()
			n++
		}
		if err := read(src, host); err != nil {
			return err
		}
		for _, p := range staged[:n] {
			b.Upload(p.Value(), host[p.Name])
		}
		staged = staged[n:]
	}
	return b.Sync()
}
