package hf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/hf/pth"
	"github.com/dino-mx/dmx/tensor"
	"github.com/dino-mx/dmx/tensor/safetensors"
)

// Checkpoint is a model that is open for reading: its config, its image processor, and its tensors under Hugging Face
// names, whatever their names in the file are. Tensor data is read on demand.
type Checkpoint struct {
	Path      string
	Config    *Config
	Processor *Processor
	Naming    Naming // the naming of the tensors in the file
	Prefix    string // what precedes the names of the trunk's tensors in the file, such as "teacher.backbone."

	view    *view
	closer  io.Closer
	from    map[string]string // Hugging Face name to stored name
	ignored []Item            // stored tensors that are not part of the model
	unknown []Item            // stored tensors that nothing explains

	unsupported []Item            // stored tensors that make this a model of another kind
	notTensors  map[string]string // bare name to what the file holds instead of a tensor
	foreign     map[string]string // Hugging Face name to its bare name in the file's naming
	filled      map[string]string // Hugging Face name to why it has no stored tensor
}

// OpenOptions answers what a checkpoint may leave open.
type OpenOptions struct {
	// Branch picks one of several trunks of a training checkpoint by a part of the prefix of its names, or by a word
	// of such a part: "teacher", "momentum_backbone". The default is the only trunk, or the only teacher.
	Branch string
	// Pooler loads the pooler of a vit, which self-supervision does not use.
	Pooler bool
	// Heads is the number of attention heads of a file without a config; 0 means one head for 64 channels.
	Heads int
	// Interpolation chooses the rule for resampling positions: "size" (transformers), "offset" (Meta's DINO and DINOv2
	// code) or "antialias" (timm, and models with registers); empty is the rule of the code that names tensors as the
	// file does.
	Interpolation string
}

// weightFiles is the order in which a folder is searched, as transformers does.
var weightFiles = []string{safetensors.ModelFile, safetensors.IndexFile, "pytorch_model.bin", pickleIndex}

// Open opens a model: a folder with a config.json and weights, or a weight file (.safetensors, an index, .pth,
// .pt, .bin) with or without a config.json beside it. Without one the architecture is read off the tensors.
func Open(path string, opts OpenOptions) (*Checkpoint, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() && !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: a pipe or another special file; expected a model folder or a weight file", path)
	}
	dir, file := filepath.Dir(path), path
	if st.IsDir() {
		dir = path
		if IsAdapter(dir) && !exists(filepath.Join(dir, ConfigFile)) {
			return nil, fmt.Errorf("%s: a PEFT adapter, not a model; dmx adapter merge BASE %s --out DIR joins it with its base", dir, dir)
		}
		if file, err = weightFile(dir); err != nil {
			return nil, err
		}
	}
	src, closer, err := openWeights(file)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{Path: path, closer: closer}
	if err := c.open(src, dir, file, st.IsDir(), opts); err != nil {
		closer.Close()
		return nil, err
	}
	return c, nil
}

// New makes a checkpoint of the tensors of any source. Without a cfg the architecture is inferred from the tensors.
func New(src safetensors.Source, cfg *Config, opts OpenOptions) (*Checkpoint, error) {
	c := &Checkpoint{closer: io.NopCloser(nil), Config: cfg}
	return c, c.arrange(src, opts)
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

func weightFile(dir string) (string, error) {
	for _, name := range weightFiles {
		if p := filepath.Join(dir, name); exists(p) {
			return p, nil
		}
	}
	var found []string
	for _, pattern := range []string{"*.safetensors", "*.pth", "*.pt"} {
		m, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return "", err
		}
		found = append(found, m...)
	}
	found = slices.DeleteFunc(found, func(p string) bool { return filepath.Base(p) == AdapterFile })
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		if what := otherWeights(dir); what != "" {
			return "", fmt.Errorf("%s: %s", dir, what)
		}
		return "", fmt.Errorf("%s: no weights; expected one of %s, or a single .safetensors or .pth file", dir, strings.Join(weightFiles, ", "))
	}
	return "", fmt.Errorf("%s: several weight files; name the file instead of the folder: %s", dir, strings.Join(found, ", "))
}

// otherWeights says what a folder holds in place of weights that this program reads, or "".
func otherWeights(dir string) string {
	for _, o := range []struct{ pattern, what string }{
		{"*.distcp", pth.Distributed},
		{"tf_model.h5", "weights for TensorFlow alone; save the model from Python with save_pretrained"},
		{"flax_model.msgpack", "weights for Flax alone; save the model from Python with save_pretrained"},
		{"*.gguf", "weights in GGUF form; download the safetensors file of the model"},
	} {
		if m, err := filepath.Glob(filepath.Join(dir, o.pattern)); err == nil && len(m) > 0 {
			return o.what
		}
	}
	return ""
}

func openWeights(file string) (safetensors.Source, io.Closer, error) {
	if filepath.Base(file) == pickleIndex {
		s, err := openPickleSet(file)
		if err != nil {
			return nil, nil, err
		}
		return s, s, nil
	}
	if strings.HasSuffix(file, ".safetensors") || strings.HasSuffix(file, ".json") {
		s, err := safetensors.OpenSet(file)
		if err != nil {
			return nil, nil, err
		}
		return s, s, nil
	}
	f, err := pth.Open(file)
	if err != nil {
		return nil, nil, err
	}
	return f, f, nil
}

// Close releases the files. A model that BuildViews made must not be used afterwards.
func (c *Checkpoint) Close() error { return c.closer.Close() }

// Unchanged returns an error when a weight file has changed since it was opened, as its size and time tell.
func (c *Checkpoint) Unchanged() error {
	if s, ok := c.closer.(*safetensors.Set); ok {
		return s.Unchanged()
	}
	return nil
}

// Tensors lists the model's tensors under their Hugging Face names.
func (c *Checkpoint) Tensors() []safetensors.Info { return c.view.Tensors() }

// Raw reads stored bytes of one tensor.
func (c *Checkpoint) Raw(name string, off int64, dst []byte) error { return c.view.Raw(name, off, dst) }

// open reads the config and the image processor beside the weights and arranges the tensors of the weight file. The
// error names the file that it is about.
func (c *Checkpoint) open(src safetensors.Source, dir, file string, isDir bool, opts OpenOptions) error {
	// A config next to a file of its own name belongs to another model of the folder.
	together := isDir || slices.Contains(weightFiles, filepath.Base(file))
	if together {
		raw, err := readJSON(filepath.Join(dir, ConfigFile))
		switch {
		case err == nil:
			if c.Config, err = ParseConfig(raw); err != nil {
				return fmt.Errorf("%s: %w", filepath.Join(dir, ConfigFile), err)
			}
		case !errors.Is(err, os.ErrNotExist):
			return err
		}
	}
	if err := c.arrange(src, opts); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return c.openProcessor(dir, together)
}

// arrange finds the trunk, completes the config and maps the stored tensors to Hugging Face names.
func (c *Checkpoint) arrange(src safetensors.Source, opts OpenOptions) error {
	s, err := findTrunk(src.Tensors(), opts.Branch)
	f, isPickle := src.(*pth.File)
	if err == errNoTrunk && isPickle {
		return noTrunk(f)
	}
	if err != nil {
		return err
	}
	if isPickle {
		c.noteSkipped(f, s)
	}
	c.Naming, c.Prefix = s.naming, s.prefix
	if c.Config == nil || c.Config.Timm != nil {
		if c.Config != nil && s.naming != NamingHF {
			s.naming = NamingTimm
			c.Naming = NamingTimm
		}
		imageSize := 0
		if c.Config != nil {
			imageSize = c.Config.Timm.ImageSize
		}
		v, err := s.infer(imageSize)
		if err != nil {
			return err
		}
		if c.Config == nil {
			c.Config = &Config{}
		} else if err := c.Config.Timm.complete(&v); err != nil {
			return err
		}
		if c.Config.Timm == nil {
			if opts.Heads > 0 {
				v.Heads = opts.Heads
			}
			c.Config.Assumed = assumed(v, opts.Heads > 0)
		}
		c.Config.ViTConfig = v
		if err := v.Validate(); err != nil {
			return err
		}
	}
	v := &c.Config.ViTConfig
	if v.Family == nn.FamilyViT {
		v.MaskToken = s.has("embeddings.mask_token")
		v.Pooler = opts.Pooler && s.has("pooler.dense.weight")
	}
	if opts.Interpolation != "" {
		i := slices.Index(interpolationNames, opts.Interpolation)
		if i < 0 {
			return fmt.Errorf("position interpolation %q; it must be one of %v", opts.Interpolation, interpolationNames)
		}
		v.Interpolation = nn.Interpolation(i)
	}
	c.mapTensors(src, s)
	for _, t := range s.others {
		c.sortOut(s, t, "")
	}
	if f, ok := s.byName["fc_norm.weight"]; ok && !s.has("norm.weight") {
		c.unsupported = append(c.unsupported, Item{Stored: f.Name, Info: f,
			Why: "the final norm follows the mean of the tokens (global pooling), so that tokens have none; this is not supported"})
	}
	return nil
}

// mapTensors builds the view of Hugging Face tensors over the stored ones.
func (c *Checkpoint) mapTensors(src safetensors.Source, s *survey) {
	c.view = newView(src)
	c.from, c.foreign, c.filled = map[string]string{}, map[string]string{}, map[string]string{}
	used := map[string]bool{}
	cfg := c.Config.ViTConfig
	for _, l := range links(cfg, s.naming) {
		c.foreign[l.name] = l.foreign
		stored, ok := s.byName[l.foreign]
		if !ok {
			c.fill(l.spec)
			continue
		}
		used[l.foreign] = true
		c.from[l.name] = stored.Name
		switch {
		case s.naming != NamingHF && l.name == "embeddings.position_embeddings" && !stored.Shape.Equal(l.shape):
			c.mapPositions(s, l, stored)
		case s.naming != NamingHF && l.name == "embeddings.register_tokens" && s.registerRows(cfg):
			c.mapRegisters(s, l, stored)
		case stored.Shape.Len() == l.shape.Len()*l.parts && (l.parts == 1 || len(stored.Shape) > 0 && stored.Shape[0] == l.shape[0]*l.parts):
			shape := l.shape
			if s.naming == NamingHF {
				shape = stored.Shape // shapes of a Hugging Face file must match to the letter
			}
			c.view.addPart(l.name, stored, shape, l.part, l.parts)
		default:
			// Left as stored, so that loading reports both shapes.
			c.view.addPart(l.name, stored, stored.Shape, 0, 1)
		}
	}
	for _, name := range s.order {
		if !used[name] {
			c.sortOut(s, s.byName[name], name)
		}
	}
}

// fill adds constant tensors that a naming leaves out.
func (c *Checkpoint) fill(s spec) {
	switch {
	case strings.HasSuffix(s.name, "mask_token"):
		c.filled[s.name] = "not in the file; zero, as it is unused without masks"
		c.view.addFill(s.name, s.shape, 0)
	case strings.Contains(s.name, "layer_scale") && c.Naming != NamingHF:
		c.filled[s.name] = "the file has no LayerScale; one changes nothing"
		c.view.addFill(s.name, s.shape, 1)
	case s.name == "embeddings.register_tokens" && s.shape.Len() == 0:
		c.filled[s.name] = "empty"
		c.view.addFill(s.name, s.shape, 0)
	}
}

// registerRows reports whether the position table has rows for registers too, as Virchow2's has.
func (s *survey) registerRows(cfg nn.ViTConfig) bool {
	pos := s.shape("pos_embed")
	return cfg.Registers > 0 && len(pos) == 3 && pos[1] == cfg.Grid()*cfg.Grid()+1+cfg.Registers
}

// mapPositions makes a table of [CLS, patches] rows from one that has rows for registers too, or no row for CLS. timm
// adds that row to the CLS token instead, so that it is zero here.
func (c *Checkpoint) mapPositions(s *survey, l link, stored safetensors.Info) {
	row := int64(c.Config.Dim) * int64(stored.DType.Bits()) / 8
	patches := int64(l.shape[1] - 1)
	switch {
	case len(stored.Shape) == 3 && int64(stored.Shape[1]) == patches && stored.Shape[2] == c.Config.Dim:
		zero := make([]byte, stored.DType.Bits()/8)
		c.view.add(l.name, stored.DType, l.shape, &viewEntry{pieces: []piece{{fill: zero, n: row}, {name: stored.Name, n: patches * row}}})
	case s.registerRows(c.Config.ViTConfig) && stored.Shape[2] == c.Config.Dim:
		skip := row * int64(1+c.Config.Registers)
		c.view.add(l.name, stored.DType, l.shape, &viewEntry{pieces: []piece{{name: stored.Name, n: row}, {name: stored.Name, off: skip, n: patches * row}}})
	default:
		c.view.addPart(l.name, stored, stored.Shape, 0, 1)
	}
}

// mapRegisters adds the registers' rows of the position table to the register tokens, as the model would.
func (c *Checkpoint) mapRegisters(s *survey, l link, stored safetensors.Info) {
	pos, src, dim := s.byName["pos_embed"], c.view.src, c.Config.Dim
	c.view.addComputed(l.name, l.shape, func() ([]float32, error) {
		tokens, err := floats(src, stored)
		if err != nil {
			return nil, err
		}
		table, err := floats(src, pos)
		if err != nil {
			return nil, err
		}
		if len(tokens) != l.shape.Len() {
			return nil, fmt.Errorf("tensor %q: %s, expected %s", stored.Name, stored.Shape, tensor.Shape(l.shape))
		}
		out := make([]float32, len(tokens))
		for i := range out {
			out[i] = tokens[i] + table[dim+i]
		}
		return out, nil
	})
}

// assumed lists what an architecture that was inferred from tensors does not owe to them.
func assumed(v nn.ViTConfig, headsGiven bool) string {
	heads := fmt.Sprintf("%d attention heads (one for 64 channels, unless --heads says otherwise), ", v.Heads)
	if headsGiven {
		heads = ""
	}
	return fmt.Sprintf("no %s, so the model is taken to have %sthe activation %s and a norm epsilon of %g, as the published %s models",
		ConfigFile, heads, ActivationName(v.Act), v.NormEps, v.Family)
}

// noTrunk says what a checkpoint without a vision transformer holds in its place, where that is known.
func noTrunk(f *pth.File) error {
	for _, s := range f.Skipped() {
		if strings.HasSuffix(s.Name, "cls_token") || strings.HasSuffix(s.Name, "flat_param") {
			return fmt.Errorf("no vision transformer found: %s is %s", s.Name, s.Why)
		}
	}
	for _, t := range f.Tensors() {
		if strings.HasSuffix(t.Name, "flat_param") {
			return fmt.Errorf("no vision transformer found: %s holds the parameters of one FSDP rank in one row; "+
				"save the full state dict from Python (StateDictOptions(full_state_dict=True))", t.Name)
		}
	}
	return errNoTrunk
}

// noteSkipped remembers what the file holds besides tensors: under the trunk's prefix to explain tensors that are
// missing, elsewhere to list it.
func (c *Checkpoint) noteSkipped(f *pth.File, s *survey) {
	c.notTensors = map[string]string{}
	for _, k := range f.Skipped() {
		c.ignored = append(c.ignored, Item{Stored: k.Name, Why: "not a tensor but " + k.Why})
		if bare, ok := strings.CutPrefix(plainName(k.Name), plainName(s.prefix)); ok {
			c.notTensors[bare] = k.Why
		}
	}
}
