package hf

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// AdapterStart says how PEFT changed the base weights when the adapter was created. PEFT repeats the change whenever
// it loads such an adapter, so the weights of the base model alone are not what the adapter adds to.
type AdapterStart uint8

// The ways an adapter starts.
const (
	// StartPlain leaves the base weights alone. It covers init_lora_weights true, false, gaussian, eva, orthogonal and
	// mica.
	StartPlain AdapterStart = iota
	// StartPiSSA moves the rank-r truncated singular value decomposition of each weight into the adapter (Meng et al.,
	// "PiSSA", 2024).
	StartPiSSA
	// StartOLoRA moves the projection of each weight onto the span of its first r columns into the adapter: the first
	// r columns and rows of its QR decomposition (Büyükakyüz, "OLoRA", 2024).
	StartOLoRA
)

// offOption is a field of PEFT's LoraConfig that changes the arithmetic in a way this program does not implement.
// Any value that is not listed in off is refused. A null is always accepted.
type offOption struct {
	off []string // the JSON values that switch the option off
	why string   // what the option does
}

var offOptions = map[string]offOption{
	"use_dora":                {[]string{"false"}, "DoRA scales the norm of every row"},
	"lora_bias":               {[]string{"false"}, "lora_B has a bias of its own"},
	"fan_in_fan_out":          {[]string{"false"}, "weights are stored transposed"},
	"target_parameters":       {[]string{"[]"}, "adapters lie on parameters instead of modules"},
	"layer_replication":       {[]string{"[]"}, "layers of the base model are repeated"},
	"trainable_token_indices": {[]string{"[]", "{}"}, "rows of an embedding table are replaced"},
	"use_qalora":              {[]string{"false"}, "QA-LoRA pools the input"},
	"alora_invocation_tokens": {[]string{"[]"}, "the adapter is active for some tokens only"},
	"use_bdlora":              {[]string{"false"}, "the matrices are block diagonal"},
	"megatron_config":         {nil, "the base model is a Megatron model"},
	"arrow_config":            {nil, "several adapters are mixed for each token"},
	"kasa_config":             {nil, "KaSA truncates the base weights and scales the adapter's ranks"},
	"monteclora_config":       {nil, "the adapter is sampled"},
	"velora_config":           {nil, "VeLoRA keeps projections beside the adapter"},
}

// harmlessOptions are the other fields of LoraConfig that ParseAdapterConfig does not read: they describe where the
// adapter comes from, or take part in training only. loftq_config, eva_config, corda_config and lora_ga_config count
// only together with the init_lora_weights of their name, which is checked.
var harmlessOptions = []string{
	"loftq_config", "eva_config", "corda_config", "lora_ga_config", "megatron_core", "qalora_group_size",
	"ensure_weight_tying", "runtime_config", "peft_version",
}

// refuseOptions fails on the options that change the result and are not implemented, and on options that this program
// does not know and that are on.
func (f *fields) refuseOptions() {
	for _, key := range slices.Sorted(keysOf(f.m)) {
		raw, ok := f.get(key)
		if !ok {
			continue
		}
		if o, listed := offOptions[key]; listed && !slices.Contains(o.off, shorten(raw)) {
			f.fail(key, shorten(raw), fmt.Sprintf("null%s: this option is not supported (%s)", orOff(o.off), o.why))
		} else if !listed && !slices.Contains(handledKeys, key) && !slices.Contains(harmlessOptions, key) && isOn(raw) {
			f.fail(key, shorten(raw), "left out: this option is unknown, and ignoring it could change the result")
		}
	}
}

func orOff(off []string) string {
	if len(off) == 0 {
		return ""
	}
	return " or " + off[0]
}

func isOn(raw json.RawMessage) bool {
	return !slices.Contains([]string{"false", "[]", "{}", `""`}, shorten(raw))
}

// start reads init_lora_weights.
func (f *fields) start() AdapterStart {
	const key = "init_lora_weights"
	raw, ok := f.get(key)
	if !ok || string(raw) == "true" || string(raw) == "false" {
		return StartPlain
	}
	name := f.str(key, "")
	lacks := " changed the base weights in a way that the adapter's files do not tell; save it from Python with " +
		"save_pretrained(DIR, path_initial_model_for_weight_conversion=…), which makes it an ordinary adapter"
	switch lower := strings.ToLower(name); {
	case name == "pissa":
		return StartPiSSA
	case lower == "olora":
		return StartOLoRA
	case slices.Contains([]string{"gaussian", "eva", "orthogonal", "mica"}, lower):
		return StartPlain
	case strings.HasPrefix(name, "pissa_niter_"):
		f.fail(key, name, "pissa, olora or a start that leaves the base weights alone: the random start of pissa_niter"+lacks)
	case name == "corda" || name == "loftq" || name == "lora_ga":
		f.fail(key, name, "pissa, olora or a start that leaves the base weights alone: "+name+lacks)
	default:
		f.fail(key, shorten(raw), "true, false, gaussian, eva, orthogonal, mica, pissa or olora")
	}
	return StartPlain
}

// strings reads a list of strings, or one string.
func (f *fields) strings(key string) []string {
	raw, ok := f.get(key)
	if !ok {
		return nil
	}
	var list []string
	if json.Unmarshal(raw, &list) == nil {
		return list
	}
	if s := f.str(key, ""); s != "" {
		return []string{s}
	}
	return nil
}

// integers reads a list of whole numbers that are not negative, or one such number.
func (f *fields) integers(key string) []int {
	raw, ok := f.get(key)
	if !ok {
		return nil
	}
	var list []int
	if json.Unmarshal(raw, &list) != nil {
		list = []int{f.integer(key, 0, 0, maxDepth)}
	}
	for _, v := range list {
		if v < 0 {
			f.fail(key, shorten(raw), "block numbers from 0")
		}
	}
	return list
}
