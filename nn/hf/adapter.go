package hf

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/hf/pth"
	"github.com/dino-mx/dmx/tensor/safetensors"
)

// AdapterNames is the release of transformers that an adapter is written for. PEFT finds modules by their names in
// memory, which changed between releases.
type AdapterNames uint8

// The two namings. Both are read.
const (
	AdapterNames5 AdapterNames = iota // transformers 5: layers.0.attention.q_proj, model.layer.0.…
	AdapterNames4                     // transformers 4: encoder.layer.0.attention.attention.query, layer.0.…
)

// memoryName is the name transformers 5 has in memory for a module or tensor of a published file.
func memoryName(family nn.Family, name string) string {
	switch family {
	case nn.FamilyDINOv3:
		if strings.HasPrefix(name, "layer.") {
			return "model." + name
		}
		return name
	case nn.FamilyViT:
		rest, ok := strings.CutPrefix(name, "encoder.layer.")
		if !ok {
			return name
		}
		return "layers." + strings.TrimSuffix(toMemoryViT.Replace(toMemory.Replace(rest+".")), ".")
	}
	return strings.TrimSuffix(toMemory.Replace(name+"."), ".")
}

var (
	toMemory = strings.NewReplacer(
		"attention.attention.query.", "attention.q_proj.", "attention.attention.key.", "attention.k_proj.",
		"attention.attention.value.", "attention.v_proj.", "attention.output.dense.", "attention.o_proj.")
	toMemoryViT = strings.NewReplacer("intermediate.dense.", "mlp.fc1.", "output.dense.", "mlp.fc2.")
	headed      = regexp.MustCompile(`^(vit|dinov2|dinov2_with_registers|dinov3_vit)\.`)
)

// publishedName is the inverse of memoryName; a published name stays as it is.
func publishedName(family nn.Family, name string) string {
	name = headed.ReplaceAllString(name, "")
	switch family {
	case nn.FamilyDINOv3:
		return strings.TrimPrefix(name, "model.")
	case nn.FamilyViT:
		if rest, ok := strings.CutPrefix(name, "layers."); ok {
			name = "encoder.layer." + rest
		}
		return newViTNames.Replace(newNames.Replace(name))
	}
	return newNames.Replace(name)
}

// Adapter is an opened PEFT adapter.
type Adapter struct {
	Path   string
	Config *AdapterConfig
	src    safetensors.Source
	closer interface{ Close() error }
}

// IsAdapter reports whether a folder holds a PEFT adapter.
func IsAdapter(dir string) bool { return exists(filepath.Join(dir, AdapterConfigFile)) }

// OpenAdapter opens a folder with adapter_config.json and adapter_model.safetensors (or .bin).
func OpenAdapter(dir string) (*Adapter, error) {
	path := filepath.Join(dir, AdapterConfigFile)
	raw, err := readJSON(path)
	if err != nil {
		return nil, err
	}
	a := &Adapter{Path: dir}
	if a.Config, err = ParseAdapterConfig(raw); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f, err := safetensors.Open(filepath.Join(dir, AdapterFile))
	if err == nil {
		a.src, a.closer = f, f
		return a, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	p, perr := pth.Open(filepath.Join(dir, "adapter_model.bin"))
	if perr != nil {
		return nil, errors.Join(err, perr)
	}
	a.src, a.closer = p, p
	return a, nil
}

// Close releases the file.
func (a *Adapter) Close() error { return a.closer.Close() }

const adapterPrefix = "base_model.model."

// peftWrappers takes the names of PEFT's own modules out of a tensor's name, and the adapter's name "default", which
// some writers leave in.
var peftWrappers = strings.NewReplacer(".default.", ".", ".modules_to_save.", ".")

// Apply puts the adapter on a model: it adds LoRA adapters to the modules that the config and the tensors name, and
// replaces the biases and the whole modules that were trained with them. Base weights that PEFT changed when it
// created the adapter are changed in the same way. The tensors of the file and the targeted modules must match;
// tensors of a saved module outside the trunk, such as a classifier, are listed as ignored in the report.
func (a *Adapter) Apply(b nn.Builder, v *nn.ViT) ([]*nn.Adapter, *Report, error) {
	r := &Report{}
	family := v.Config.Family
	stored := map[string]safetensors.Info{}
	ranks := map[string]int{}
	for _, t := range a.src.Tensors() {
		name, ok := strings.CutPrefix(plainName(t.Name), adapterPrefix)
		if !ok {
			r.Unexpected = append(r.Unexpected, Item{Stored: t.Name, Info: t, Why: "does not begin with " + adapterPrefix})
			continue
		}
		name = publishedName(family, peftWrappers.Replace(name))
		if _, dup := stored[name]; dup {
			return nil, r, fmt.Errorf("%s: %w: two tensors mean %s", a.Path, ErrAdapter, name)
		}
		stored[name] = t
		if module, ok := strings.CutSuffix(name, ".lora_A.weight"); ok && len(t.Shape) > 0 {
			ranks[module] = t.Shape[0]
		}
	}
	cfg := a.Config.LoRA(v)
	for _, module := range slices.Sorted(keysOf(ranks)) {
		pattern, _ := firstMatch(a.Config.RankPattern, aliases(family, module))
		if have, want := ranks[module], cmp.Or(pattern, cfg.Rank); want != have {
			return nil, r, fmt.Errorf("%s: %w: %s has rank %d in the tensors and %d in the config", a.Path, ErrAdapter, module, have, want)
		}
	}
	// A module that has tensors is adapted even where the config does not name it.
	for _, l := range v.Linears() {
		for _, part := range l.Parts {
			if ranks[part.Name] > 0 && !slices.Contains(cfg.Targets, part.Name) {
				cfg.Targets = append(cfg.Targets, part.Name)
				cfg.Ranks[part.Name] = ranks[part.Name]
				if alpha, ok := firstMatch(a.Config.AlphaPattern, aliases(family, part.Name)); ok {
					cfg.Alphas[part.Name] = alpha
				}
			}
		}
	}
	adapters, err := b.AddLoRA(v, cfg)
	if err != nil {
		return nil, r, fmt.Errorf("%s: %w: %w", a.Path, ErrAdapter, err)
	}
	wanted := map[string]bool{}
	var params []*nn.Param
	from := map[string]string{}
	for _, p := range v.Params.All() {
		t, ok := stored[p.Name]
		isAdapter := isAdapterTensor(p.Name)
		switch {
		case !ok && (isAdapter || a.Config.saves(family, p.Module())):
			r.Missing = append(r.Missing, Item{Name: p.Name})
		case !ok:
		case !isAdapter && !strings.HasSuffix(p.Name, ".bias") && !a.Config.saves(family, p.Module()):
			continue // reported as unexpected below
		case !t.Shape.Equal(p.Shape):
			r.Mismatched = append(r.Mismatched, Item{Name: p.Name, Stored: t.Name, Info: t, Why: fmt.Sprintf("stored as %s, the model has %s", t.Shape, p.Shape)})
			wanted[p.Name] = true
		default:
			r.Loaded = append(r.Loaded, Item{Name: p.Name, Stored: t.Name, Info: t})
			wanted[p.Name] = true
			params = append(params, p)
			from[p.Name] = t.Name
		}
	}
	for _, name := range slices.Sorted(keysOf(stored)) {
		switch module := name[:max(strings.LastIndexByte(name, '.'), 0)]; {
		case wanted[name]:
		case a.Config.saves(family, module) && !inTrunk(name):
			r.Ignored = append(r.Ignored, Item{Stored: stored[name].Name, Info: stored[name], Why: "a module of modules_to_save outside the trunk"})
		default:
			r.Unexpected = append(r.Unexpected, Item{Stored: stored[name].Name, Info: stored[name], Why: "the model has no such module"})
		}
	}
	if err := r.Err(false, false); err != nil {
		return nil, r, fmt.Errorf("%s: %w: %w", a.Path, ErrAdapter, err)
	}
	renamed := newView(a.src)
	for name, s := range from {
		t := infoOf(a.src, s)
		renamed.addPart(name, t, t.Shape, 0, 1)
	}
	if err := readParams(renamed, b.Backend, params, false); err != nil {
		return nil, r, fmt.Errorf("%s: %w", a.Path, err)
	}
	if err := subtractStart(b.Backend, v, adapters, a.Config.Start); err != nil {
		return nil, r, fmt.Errorf("%s: %w: %w", a.Path, ErrAdapter, err)
	}
	v.Params.Sync(b.Backend)
	return adapters, r, nil
}

func infoOf(src safetensors.Source, name string) safetensors.Info {
	for _, t := range src.Tensors() {
		if t.Name == name {
			return t
		}
	}
	return safetensors.Info{}
}

// SaveAdapter writes the model's adapters, and the biases and whole modules trained beside them, as a folder that
// PeftModel.from_pretrained opens on the model they belong to.
func SaveAdapter(dir string, b nn.Builder, v *nn.ViT, cfg *AdapterConfig, names AdapterNames) error {
	family := v.Config.Family
	adapted := map[string]bool{}
	for _, l := range v.Linears() {
		for _, a := range l.Adapters {
			adapted[a.Module] = true
		}
	}
	if len(adapted) == 0 {
		return fmt.Errorf("%s: %w: the model has no adapters", dir, ErrAdapter)
	}
	out := *cfg
	if out.Layers != nil {
		// Names of blocks differ between the namings, so the modules are listed in full.
		out.Layers, out.LayersPattern, out.Targets = nil, nil, nil
		for module := range adapted {
			if names == AdapterNames5 {
				module = memoryName(family, module)
			}
			out.Targets = append(out.Targets, module)
		}
	} else if out.Targets != nil && names == AdapterNames5 {
		out.Targets = nil
		for module := range adapted {
			out.Targets = append(out.Targets, lastName(memoryName(family, module)))
		}
	} else if out.Targets != nil {
		out.Targets = nil
		for module := range adapted {
			out.Targets = append(out.Targets, shortSuffix(module, adapted, v))
		}
	}
	slices.Sort(out.Targets)
	out.Targets = slices.Compact(out.Targets)
	var tensors []safetensors.Tensor
	for _, p := range v.Params.All() {
		name := p.Name
		if names == AdapterNames5 {
			name = memoryName(family, name)
		}
		switch {
		case isAdapterTensor(p.Name):
		case cfg.Bias != nn.LoRABiasNone && strings.HasSuffix(p.Name, ".bias") && (cfg.Bias == nn.LoRABiasAll || adapted[p.Module()]):
			if adapted[p.Module()] {
				name = strings.TrimSuffix(name, ".bias") + ".base_layer.bias"
			}
		case cfg.saves(family, p.Module()):
		default:
			continue
		}
		t, err := paramTensor(b.Backend, spec{adapterPrefix + name, p.Shape}, p, safetensors.F32)
		if err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
		tensors = append(tensors, t)
	}
	return saveAdapter(dir, tensors, &out, family)
}

func saveAdapter(dir string, tensors []safetensors.Tensor, cfg *AdapterConfig, family nn.Family) error {
	config, err := MarshalAdapterConfig(cfg, family)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := safetensors.WriteFile(filepath.Join(dir, AdapterFile), map[string]string{"format": "pt"}, tensors); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, AdapterConfigFile), config)
}

func lastName(module string) string { return module[strings.LastIndexByte(module, '.')+1:] }

// shortSuffix is the shortest ending of a module's name that matches adapted modules alone: "dense" would hit the
// MLP of vit too.
func shortSuffix(module string, adapted map[string]bool, v *nn.ViT) string {
	parts := strings.Split(module, ".")
	for i := len(parts) - 1; i > 0; i-- {
		suffix := strings.Join(parts[i:], ".")
		match := nn.MatchModules(suffix)
		clean := true
		for _, l := range v.Linears() {
			for _, p := range l.Parts {
				clean = clean && (!match(p.Name) || adapted[p.Name])
			}
		}
		if clean {
			return suffix
		}
	}
	return module
}
