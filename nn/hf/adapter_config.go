package hf

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/dino-mx/dmx/nn"
)

// ErrAdapter is wrapped by every error about a PEFT adapter.
var ErrAdapter = errors.New("PEFT adapter")

// AdapterConfig is an adapter_config.json whose peft_type is LORA.
type AdapterConfig struct {
	BaseModel, Revision string
	Rank                int
	Alpha               float64
	Dropout             float64
	RSLoRA              bool
	Bias                nn.LoRABias
	// Targets lists module suffixes; Pattern is a regular expression for whole names, used when Targets is nil.
	Targets []string
	Pattern string
	// Exclude wins over the targets; the same two forms.
	Exclude        []string
	ExcludePattern string
	// Layers restricts Targets to blocks with these numbers, which follow one of LayersPattern in a module's name (any
	// word if there is none). No Layers means every block.
	Layers        []int
	LayersPattern []string
	// Saved lists modules that were trained whole and are stored beside the adapter (modules_to_save), as regular
	// expressions for module names. They get no adapter.
	Saved        []string
	Start        AdapterStart
	RankPattern  map[string]int
	AlphaPattern map[string]float64
	BaseClass    string // the base model's class, in auto_mapping
	// Extra is the members that are not read into the fields above, to be written back unchanged.
	Extra map[string]json.RawMessage
}

var biasNames = []string{"none", "all", "lora_only"}

// handledKeys are written by MarshalAdapterConfig itself.
var handledKeys = []string{
	"peft_type", "base_model_name_or_path", "revision", "r", "lora_alpha", "lora_dropout", "use_rslora", "bias",
	"target_modules", "exclude_modules", "rank_pattern", "alpha_pattern", "inference_mode", "auto_mapping", "task_type",
	"layers_to_transform", "layers_pattern", "modules_to_save", initKey,
}

const initKey = "init_lora_weights"

// ParseAdapterConfig reads an adapter_config.json. Unknown keys are kept; options that would change the result and
// are not supported are refused by name.
func ParseAdapterConfig(raw []byte) (*AdapterConfig, error) {
	m, err := parseObject(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAdapter, err)
	}
	f := &fields{m: m}
	if kind := f.str("peft_type", ""); kind != "LORA" && f.err == nil {
		f.fail("peft_type", fmt.Sprintf("%q", kind), "LORA; other adapters are not supported")
	}
	f.refuseOptions()
	c := &AdapterConfig{
		BaseModel: f.str("base_model_name_or_path", ""), Revision: f.str("revision", ""),
		Rank: f.integer("r", 8, 1, 1<<14), Alpha: f.number("lora_alpha", 8), Dropout: f.number("lora_dropout", 0),
		RSLoRA: f.boolean("use_rslora", false),
	}
	if c.Dropout < 0 || c.Dropout >= 1 {
		f.fail("lora_dropout", c.Dropout, "in [0, 1)")
	}
	if o := f.object("auto_mapping"); o != nil {
		c.BaseClass = o.str("base_model_class", "")
	}
	bias := slices.Index(biasNames, f.str("bias", "none"))
	if bias < 0 {
		f.fail("bias", f.str("bias", ""), "none, all or lora_only")
	}
	c.Bias = nn.LoRABias(max(bias, 0))
	c.Targets, c.Pattern = f.modules("target_modules")
	c.Exclude, c.ExcludePattern = f.modules("exclude_modules")
	c.Layers, c.LayersPattern = f.integers("layers_to_transform"), f.strings("layers_pattern")
	c.Saved, c.Start = f.strings("modules_to_save"), f.start()
	if c.Layers != nil && c.Targets == nil && c.Pattern != "" {
		f.fail("layers_to_transform", c.Layers, "left out where target_modules is one string")
	}
	for _, p := range append(slices.Clone(c.LayersPattern), c.Saved...) {
		if _, err := regexp.Compile(p); err != nil {
			f.fail("layers_pattern and modules_to_save", strconv.Quote(p), "regular expressions: "+err.Error())
		}
	}
	if o := f.object("rank_pattern"); o != nil {
		for _, k := range slices.Sorted(keysOf(o.m)) {
			if c.RankPattern == nil {
				c.RankPattern = map[string]int{}
			}
			c.RankPattern[k] = o.integer(k, 0, 1, 1<<14)
			checkPattern(o, k)
			o.notNull(k)
		}
		f.join("rank_pattern", o)
	}
	if o := f.object("alpha_pattern"); o != nil {
		for _, k := range slices.Sorted(keysOf(o.m)) {
			if c.AlphaPattern == nil {
				c.AlphaPattern = map[string]float64{}
			}
			c.AlphaPattern[k] = o.number(k, 0)
			checkPattern(o, k)
			o.notNull(k)
		}
		f.join("alpha_pattern", o)
	}
	for k, v := range m {
		if !slices.Contains(handledKeys, k) || k == initKey {
			if c.Extra == nil {
				c.Extra = map[string]json.RawMessage{}
			}
			c.Extra[k] = v
		}
	}
	if f.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAdapter, f.err)
	}
	if c.Targets == nil && c.Pattern == "" {
		return nil, fmt.Errorf("%w: target_modules is missing; these models have no default", ErrAdapter)
	}
	return c, nil
}

func (f *fields) join(key string, o *fields) {
	if f.err == nil && o.err != nil {
		f.err = fmt.Errorf("%s: %w", key, o.err)
	}
}

// notNull refuses null where it has no meaning of its own.
func (f *fields) notNull(key string) {
	if _, ok := f.get(key); !ok {
		f.fail(key, "null", "a number")
	}
}

func checkPattern(o *fields, pattern string) {
	if _, err := patternOf(pattern); err != nil {
		o.fail(pattern, "a key", "a regular expression: "+err.Error())
	}
}

// patternOf is PEFT's rule for the keys of rank_pattern and alpha_pattern.
func patternOf(key string) (*regexp.Regexp, error) { return regexp.Compile(`^(.*\.)?(?:` + key + `)$`) }

// modules reads a list of suffixes or a pattern.
func (f *fields) modules(key string) (list []string, pattern string) {
	raw, ok := f.get(key)
	if !ok {
		return nil, ""
	}
	if json.Unmarshal(raw, &list) == nil {
		slices.Sort(list)
		return list, ""
	}
	pattern = f.str(key, "")
	if strings.EqualFold(pattern, "all-linear") {
		pattern = "(?i)all-linear"
		return nil, pattern
	}
	if _, err := regexp.Compile("^(?:" + pattern + ")$"); err != nil {
		f.fail(key, strconv.Quote(pattern), "a list of names or a regular expression: "+err.Error())
	}
	return nil, pattern
}

// aliases are the names a module goes by in Python: as in published files, and as transformers 5 has it in memory.
func aliases(family nn.Family, module string) []string {
	if n := memoryName(family, module); n != module {
		return []string{module, n}
	}
	return []string{module}
}

// matches reports whether the config puts an adapter on a module of the family.
func (c *AdapterConfig) matches(family nn.Family, module string) bool {
	hit := func(list []string, pattern string, layers bool) bool {
		for _, name := range aliases(family, module) {
			switch {
			case list != nil:
				if nn.MatchModules(list...)(name) && (!layers || c.inLayers(name)) {
					return true
				}
			case pattern == "(?i)all-linear":
				if !strings.Contains(name, "patch_embeddings") {
					return true
				}
			case pattern != "":
				if match, err := nn.MatchPattern(pattern); err == nil && match(name) {
					return true
				}
			}
		}
		return false
	}
	return hit(c.Targets, c.Pattern, true) && !hit(c.Exclude, c.ExcludePattern, false) && !c.saves(family, module)
}

// inLayers is PEFT's rule for layers_to_transform: the first number in a module's name that follows one of
// layers_pattern, or any word but the first, must be listed.
func (c *AdapterConfig) inLayers(module string) bool {
	if len(c.Layers) == 0 {
		return true
	}
	patterns := c.LayersPattern
	if len(patterns) == 0 {
		patterns = []string{`.*?\.[^.]*`}
	}
	for _, p := range patterns {
		if len(c.LayersPattern) > 0 {
			p = `(?:.*?\.)?(?:` + p + `)`
		}
		re, err := regexp.Compile(`^` + p + `\.(\d+)\.`)
		if err != nil {
			continue // ParseAdapterConfig refuses it
		}
		if m := re.FindStringSubmatch(module); m != nil {
			i, err := strconv.Atoi(m[1])
			return err == nil && slices.Contains(c.Layers, i)
		}
	}
	return false
}

// saves reports whether a module, or one that it lies in, is stored whole beside the adapter: PEFT's rule for
// modules_to_save.
func (c *AdapterConfig) saves(family nn.Family, module string) bool {
	for _, p := range c.Saved {
		re, err := regexp.Compile(`^(?:.*\.)?(?:` + p + `)(?:$|\.)`)
		for _, name := range aliases(family, module) {
			if err == nil && re.MatchString(name) {
				return true
			}
		}
	}
	return false
}

// LoRA translates the config for a model: the modules that it adapts, by their whole names, with the ranks and alphas
// that rank_pattern and alpha_pattern give them. The first pattern in alphabetical order wins.
func (c *AdapterConfig) LoRA(v *nn.ViT) nn.LoRAConfig {
	out := nn.LoRAConfig{
		Rank: c.Rank, Alpha: c.Alpha, Dropout: c.Dropout, RSLoRA: c.RSLoRA, Bias: c.Bias,
		Targets: []string{}, Ranks: map[string]int{}, Alphas: map[string]float64{},
	}
	family := v.Config.Family
	for _, l := range v.Linears() {
		for _, part := range l.Parts {
			if !c.matches(family, part.Name) {
				continue
			}
			out.Targets = append(out.Targets, part.Name)
			names := aliases(family, part.Name)
			if r, ok := firstMatch(c.RankPattern, names); ok {
				out.Ranks[part.Name] = r
			}
			if a, ok := firstMatch(c.AlphaPattern, names); ok {
				out.Alphas[part.Name] = a
			}
		}
	}
	return out
}

// firstMatch returns the value of the first key, in alphabetical order, whose pattern matches one of the names.
func firstMatch[V any](patterns map[string]V, names []string) (value V, ok bool) {
	for _, k := range slices.Sorted(keysOf(patterns)) {
		re, err := patternOf(k)
		if err == nil && slices.ContainsFunc(names, re.MatchString) {
			return patterns[k], true
		}
	}
	return value, false
}

// MarshalAdapterConfig writes an adapter_config.json for a model of the family.
func MarshalAdapterConfig(c *AdapterConfig, family nn.Family) ([]byte, error) {
	m := map[string]any{}
	for k, v := range c.Extra {
		m[k] = v
	}
	m["peft_type"], m["inference_mode"], m["task_type"] = "LORA", true, nil
	m["base_model_name_or_path"], m["revision"] = orNil(c.BaseModel), orNil(c.Revision)
	m["r"], m["lora_alpha"], m["lora_dropout"], m["use_rslora"] = c.Rank, number(c.Alpha), float(c.Dropout), c.RSLoRA
	m["bias"] = biasNames[c.Bias]
	m["target_modules"], m["exclude_modules"] = modulesValue(c.Targets, c.Pattern), modulesValue(c.Exclude, c.ExcludePattern)
	m["layers_to_transform"], m["layers_pattern"], m["modules_to_save"] = listOrNil(c.Layers), listOrNil(c.LayersPattern), listOrNil(c.Saved)
	ranks, alphas := map[string]int{}, map[string]any{}
	for k, v := range c.RankPattern {
		ranks[k] = v
	}
	for k, v := range c.AlphaPattern {
		alphas[k] = number(v)
	}
	m["rank_pattern"], m["alpha_pattern"] = ranks, alphas
	library := family.String() // the class's Python module has the model type's name
	m["auto_mapping"] = map[string]string{"base_model_class": classNames[family], "parent_library": "transformers.models." + library + ".modeling_" + library}
	for k, v := range map[string]any{"fan_in_fan_out": false, initKey: true, "lora_bias": false, "use_dora": false, "loftq_config": map[string]any{}, "megatron_config": nil, "megatron_core": "megatron.core"} {
		setDefault(m, k, v)
	}
	return marshal(m)
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func listOrNil[T any](list []T) any {
	if len(list) == 0 {
		return nil
	}
	return list
}

func modulesValue(list []string, pattern string) any {
	switch {
	case list != nil:
		return list
	case pattern == "(?i)all-linear":
		return "all-linear"
	}
	return orNil(pattern)
}

// number writes whole values without a point, as PEFT does for lora_alpha.
func number(v float64) any {
	if v == float64(int64(v)) {
		return int64(v)
	}
	return v
}
