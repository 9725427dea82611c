package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/hf"
	"github.com/dino-mx/dmx/nn/hf/pth"
	"github.com/dino-mx/dmx/tensor/safetensors"
)

// modelCmd is the commands on model files.
type modelCmd struct {
	Inspect inspectCmd `cmd:"" help:"Show a model's family, sizes and tensors, and what loading it would do."`
	Convert convertCmd `cmd:"" help:"Write a model in the naming of another program."`
	Diff    diffCmd    `cmd:"" help:"Compare two models, config and tensors; exit code 1 if they differ."`
}

type inspectCmd struct {
	Model string `arg:"" help:"Hugging Face id (org/name[@revision]), model folder or weight file."`
	openFlags
}

// Run prints the model and every tensor of its file.
func (c *inspectCmd) Run(ctx context.Context, io streams) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	m, err := c.open(ctx, c.Model, io.err)
	if err != nil {
		return err
	}
	defer m.Close()
	describe(io.out, m)
	r := m.Report()
	fmt.Fprintf(io.out, "\n%s\n\n", r.Summary())
	r.Print(io.out)
	if err := r.Err(c.AllowMissing, c.AllowUnexpected); err != nil || c.AllowNonFinite {
		return err
	}
	return m.CheckFinite()
}

// describe prints what a model is.
func describe(w io.Writer, m *hf.Checkpoint) {
	v := m.Config.ViTConfig
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-14s %s\n", name, fmt.Sprintf(format, args...))
	}
	under := ""
	if m.Prefix != "" {
		under = " under " + m.Prefix
	}
	line("model", "%s", m.Path)
	line("family", "%s (%s tensor names%s)", v.Family, m.Naming, under)
	line("size", "%d channels in %d blocks of %d heads, MLP %s%d with %s",
		v.Dim, v.Depth, v.Heads, map[bool]string{true: "gated ", false: ""}[v.Gated], v.MLPDim, hf.ActivationName(v.Act))
	line("input", "%d channels, patch %d, image %d (%d patches)", v.Channels, v.PatchSize, v.ImageSize, v.Grid()*v.Grid())
	position := "table, " + []string{"bicubic to size", "bicubic by scale factor with offset", "bicubic with antialias"}[v.Interpolation]
	if v.RoPE.Theta > 0 {
		position = fmt.Sprintf("rotary, theta %g", v.RoPE.Theta)
	}
	line("positions", "%s", position)
	line("tokens", "CLS, %d registers, mask token %s", v.Registers, map[bool]string{true: "yes", false: "no"}[v.MaskToken])
	line("norm epsilon", "%g", v.NormEps)
	params, pooler, tensors, bytes := 0, 0, 0, int64(0)
	types := map[string]bool{}
	for _, t := range m.Tensors() {
		if strings.HasPrefix(t.Name, "pooler.") {
			pooler += t.Shape.Len() // self-supervision has none, so that train does not count it
			continue
		}
		tensors++
		params += t.Shape.Len()
		bytes += t.NumBytes()
		types[t.DType.String()] = true
	}
	var names []string
	for t := range types {
		names = append(names, t)
	}
	slices.Sort(names)
	extra := ""
	if pooler > 0 {
		extra = fmt.Sprintf(", and a pooler of %s", thousands(pooler))
	}
	line("parameters", "%s in %d tensors, %s, %.1f MB%s", thousands(params), tensors, strings.Join(names, " and "), float64(bytes)/1e6, extra)
	line("preprocessing", "%v", m.Processor)
	if why := m.Processor.Assumed; why != "" {
		line("note", "%s", why)
	}
	if why := m.Config.Assumed; why != "" {
		line("assumed", "%s", why)
	}
	for _, n := range m.Config.Notes {
		line("note", "%s", n)
	}
}

func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}

type convertCmd struct {
	Model string `arg:"" help:"Hugging Face id (org/name[@revision]), model folder or weight file."`
	To    string `required:"" enum:"hf,dino,dinov2,dinov3,timm" help:"Naming to write: hf (a folder for transformers), dino, dinov2, dinov3 (Meta's repositories) or timm (a weight file)." placeholder:"NAMING"`
	Out   string `required:"" help:"Folder for hf; else a file that ends in .safetensors or .pth." placeholder:"PATH"`
	DType string `name:"dtype" enum:"same,f32,f16,bf16" default:"same" help:"Type of the written weights: same, f32, f16 or bf16."`
	Shard int64  `help:"Split hf weights into files of at most so many MB." placeholder:"MB"`

	Channels int `help:"Adapt the patch embedding to so many input channels, keeping its response to grey images."`
	openFlags
}

// Run converts.
func (c *convertCmd) Run(ctx context.Context, io streams) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	naming := hf.Naming(c.To)
	file := strings.HasSuffix(c.Out, ".safetensors") || strings.HasSuffix(c.Out, ".pth")
	switch {
	case naming == hf.NamingHF && file:
		return usageError{fmt.Errorf("--out: %s: hf is written to a folder", c.Out)}
	case naming != hf.NamingHF && !file:
		return usageError{fmt.Errorf("--out: %s: expected a name that ends in .safetensors or .pth", c.Out)}
	case c.Shard < 0 || c.Shard > 0 && naming != hf.NamingHF:
		return usageError{errors.New("--shard: a positive number of MB, for --to hf only")}
	case c.AllowMissing:
		return usageError{errors.New("--allow-missing: a converted model must have all of its tensors")}
	}
	m, err := c.open(ctx, c.Model, io.err)
	if err != nil {
		return err
	}
	defer m.Close()
	if c.Channels != 0 {
		if err := m.SetChannels(c.Channels); err != nil {
			return err
		}
	}
	r := m.Report()
	if err := r.Err(false, c.AllowUnexpected); err != nil {
		return fmt.Errorf("%s: %w", m.Path, err)
	}
	if !c.AllowNonFinite {
		if err := m.CheckFinite(); err != nil {
			return err
		}
	}
	dtype := map[string]safetensors.DType{"f32": safetensors.F32, "f16": safetensors.F16, "bf16": safetensors.BF16}[c.DType]
	if naming == hf.NamingHF {
		err = m.SaveTo(c.Out, hf.SaveOptions{DType: dtype, MaxShard: c.Shard * 1_000_000, Pooler: true})
	} else {
		err = exportFile(m, naming, c.Out, dtype, io.err)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(io.out, "%s: %s\n", c.Out, r.Summary())
	return nil
}

// exportFile writes one weight file in a foreign naming, atomically.
func exportFile(m *hf.Checkpoint, naming hf.Naming, path string, dtype safetensors.DType, messages io.Writer) error {
	src, dropped, err := m.Export(naming)
	if err != nil {
		return err
	}
	for _, d := range dropped {
		fmt.Fprintf(messages, "left out %s: %s\n", d.Name, d.Why)
	}
	var tensors []safetensors.Tensor
	for _, t := range src.Tensors() {
		tensors = append(tensors, hf.Convert(safetensors.FromSource(t.Name, src, t), src, t, dtype))
	}
	if strings.HasSuffix(path, ".safetensors") {
		return safetensors.WriteFile(path, map[string]string{"format": "pt"}, tensors)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // gone already when all went well
	if err = pth.Write(tmp, tensors); err == nil {
		err = tmp.Chmod(0o644)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.Rename(tmp.Name(), path)
}

type diffCmd struct {
	A string `arg:"" help:"First model: id, folder or file."`
	B string `arg:"" help:"Second model."`
	openFlags
}

// Run compares tensor by tensor.
func (c *diffCmd) Run(ctx context.Context, io streams) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	a, err := c.open(ctx, c.A, io.err)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := c.open(ctx, c.B, io.err)
	if err != nil {
		return err
	}
	defer b.Close()
	changes := configDiff(a.Config.ViTConfig, b.Config.ViTConfig)
	for _, line := range changes {
		fmt.Fprintln(io.out, line)
	}
	rows, err := hf.Diff(a, b)
	if err != nil {
		return err
	}
	var lines [][]string
	different := 0
	for _, r := range rows {
		if r.Same {
			continue
		}
		different++
		switch {
		case r.Only != "":
			lines = append(lines, []string{r.Name, "only in " + r.Only, "", ""})
		case r.Shapes != "":
			lines = append(lines, []string{r.Name, r.Shapes, "", ""})
		default:
			lines = append(lines, []string{r.Name, "", fmt.Sprintf("%.3g", r.MaxAbs), fmt.Sprintf("%.3g", r.Relative)})
		}
	}
	if len(lines) > 0 {
		table(io.out, []string{"tensor", "", "max |a-b|", "‖a-b‖/‖a‖"}, lines)
	}
	fmt.Fprintf(io.out, "%d of %d tensors are the same bits\n", len(rows)-different, len(rows))
	if different+len(changes) > 0 {
		return fmt.Errorf("the models differ")
	}
	return nil
}

// configDiff lists the fields of two architectures that differ.
func configDiff(a, b nn.ViTConfig) []string {
	var out []string
	for _, f := range []struct {
		name string
		a, b any
	}{
		{"family", a.Family, b.Family}, {"num_channels", a.Channels, b.Channels}, {"patch_size", a.PatchSize, b.PatchSize},
		{"image_size", a.ImageSize, b.ImageSize}, {"hidden_size", a.Dim, b.Dim}, {"num_hidden_layers", a.Depth, b.Depth},
		{"num_attention_heads", a.Heads, b.Heads}, {"MLP width", a.MLPDim, b.MLPDim}, {"gated MLP", a.Gated, b.Gated},
		{"activation", hf.ActivationName(a.Act), hf.ActivationName(b.Act)}, {"layer_norm_eps", a.NormEps, b.NormEps}, {"registers", a.Registers, b.Registers},
		{"LayerScale", a.LayerScale, b.LayerScale}, {"position interpolation", a.Interpolation, b.Interpolation}, {"rope_theta", a.RoPE.Theta, b.RoPE.Theta},
	} {
		if f.a != f.b {
			out = append(out, fmt.Sprintf("%s: %v and %v", f.name, f.a, f.b))
		}
	}
	return out
}
