package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"

	"github.com/dino-mx/dmx/kernels/cpu"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/hf"
	"github.com/dino-mx/dmx/tensor"
)

// adapterCmd is the commands on PEFT adapters.
type adapterCmd struct {
	Merge   mergeCmd   `cmd:"" help:"Add a LoRA adapter to its base model and write the whole model."`
	Extract extractCmd `cmd:"" help:"Write the difference of two models as a LoRA adapter."`
}

type mergeCmd struct {
	Base    string `arg:"" help:"Base model: Hugging Face id, folder or file."`
	Adapter string `arg:"" help:"Adapter folder (adapter_config.json, adapter_model.safetensors) or id."`
	Out     string `required:"" help:"Folder for the merged model." placeholder:"DIR" predictor:"folder"`
	openFlags
}

// Run merges.
func (c *mergeCmd) Run(ctx context.Context, io streams) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	base, err := c.open(ctx, c.Base, io.err)
	if err != nil {
		return err
	}
	defer base.Close()
	backend := cpu.New(cpu.Options{})
	defer backend.Close()
	b := nn.Builder{Backend: backend, DType: tensor.F32}
	v, _, err := base.Build(b, c.allow())
	if err != nil {
		return err
	}
	layers, err := applyAdapter(ctx, c.Adapter, c.Base, base, b, v, io.err)
	if err != nil {
		return err
	}
	if err := hf.Save(c.Out, v, backend, base.Config, base.Processor, hf.SaveOptions{Pooler: true}); err != nil {
		return err
	}
	fmt.Fprintf(io.out, "%s: %d layers merged\n", c.Out, len(layers))
	return nil
}

// applyAdapter opens the adapter called name, puts it on the model v, which was built from base, and merges it into the
// weights. baseName is what the user calls the base model. What the adapter's config says about another base, and
// what was left out of the adapter, is written to messages.
func applyAdapter(
	ctx context.Context, name, baseName string, base *hf.Checkpoint, b nn.Builder, v *nn.ViT, messages io.Writer,
) ([]*nn.Adapter, error) {
	dir, err := fetch(ctx, name, messages)
	if err != nil {
		return nil, err
	}
	a, err := hf.OpenAdapter(dir)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	for _, note := range a.BaseNotes(baseName, base) {
		fmt.Fprintf(messages, "note: %s\n", note)
	}
	layers, report, err := a.Apply(b, v)
	if err != nil {
		return nil, err
	}
	for _, it := range report.Ignored {
		fmt.Fprintf(messages, "left out %s: %s\n", it.Stored, it.Why)
	}
	for _, l := range layers {
		l.Merge(b.Backend)
	}
	return layers, nil
}

type extractCmd struct {
	Base    string   `arg:"" help:"Model before training."`
	Tuned   string   `arg:"" help:"Model after training, of the same architecture."`
	Rank    int      `help:"Rank of the adapter." default:"16"`
	Targets []string `name:"target-modules" help:"Module name endings to adapt." default:"query,value,q_proj,v_proj" sep:","`
	Out     string   `required:"" help:"Folder for the adapter." placeholder:"DIR" predictor:"folder"`
	Names   string   `enum:"transformers5,transformers4" default:"transformers5" help:"Release of transformers that will read the adapter: transformers5 or transformers4; module names changed in between."`
	openFlags
}

// Run extracts.
func (c *extractCmd) Run(ctx context.Context, io streams) error {
	if c.Rank < 1 {
		return usageError{fmt.Errorf("--rank: %d: expected at least 1", c.Rank)}
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	base, err := c.open(ctx, c.Base, io.err)
	if err != nil {
		return err
	}
	defer base.Close()
	tuned, err := c.open(ctx, c.Tuned, io.err)
	if err != nil {
		return err
	}
	defer tuned.Close()
	names := hf.AdapterNames5
	if c.Names == "transformers4" {
		names = hf.AdapterNames4
	}
	cfg := &hf.AdapterConfig{Rank: c.Rank, Targets: c.Targets, BaseModel: c.Base}
	e, err := hf.Extract(base, tuned, cfg, names)
	if err != nil {
		return err
	}
	if err := e.Save(c.Out, cfg, base.Config.Family); err != nil {
		return err
	}
	var rows [][]string
	for module, lost := range e.Lost {
		rows = append(rows, []string{module, fmt.Sprintf("%.2f %%", 100*(1-lost))})
	}
	slices.SortFunc(rows, func(a, b []string) int { return natural(a[0], b[0]) })
	table(io.out, []string{"module", "kept of the difference"}, rows)
	if n := len(e.Outside); n > 0 {
		fmt.Fprintf(io.err, "%d tensors outside the target modules differ too and are not in the adapter, %s first\n", n, e.Outside[0])
	}
	return nil
}

// natural orders names with the numbers in them as numbers.
func natural(a, b string) int {
	for a != "" && b != "" {
		da, db := digits(a), digits(b)
		if da > 0 && db > 0 {
			if da != db {
				return da - db
			}
			if a[:da] != b[:db] {
				if a[:da] < b[:db] {
					return -1
				}
				return 1
			}
			a, b = a[da:], b[db:]
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}
