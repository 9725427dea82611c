package config

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// YAML writes every key with its value. With docs a comment above each key says what it does and what it
// takes. Reading the text gives the same configuration.
func (c *Config) YAML(docs bool) []byte {
	var b strings.Builder
	_, sectionDoc := sections()
	standard := defaults()
	section := ""
	for _, f := range fields(c) {
		s, key, _ := strings.Cut(f.path, ".")
		if s != section {
			if section != "" {
				b.WriteByte('\n')
			}
			section = s
			if docs {
				fmt.Fprintf(&b, "# %s\n", sectionDoc[s])
			}
			fmt.Fprintf(&b, "%s:\n", s)
		}
		if docs {
			fmt.Fprintf(&b, "  # %s (%s)\n", f.tag.Get("doc"), f.expectation())
			if why := f.tag.Get("inert"); why != "" {
				fmt.Fprintf(&b, "  # accepted without effect: %s\n", why)
			}
			if why := f.tag.Get("refused"); why != "" {
				fmt.Fprintf(&b, "  # only %s: %s\n", encode(standard[f.path]), why)
			}
			if why := decisions[f.path]; why != "" {
				fmt.Fprintf(&b, "  # why: %s\n", why)
			}
		}
		fmt.Fprintf(&b, "  %s: %s\n", key, encode(f.value.Interface()))
	}
	return []byte(b.String())
}

// Ineffective lists the keys that were given another value than the default although nothing reads them, each as
// "distribution.type=fsdp (this version trains on one rank)".
func (c *Config) Ineffective() []string {
	var keys []string
	standard := defaults()
	for _, f := range fields(c) {
		why, value := f.tag.Get("inert"), encode(f.value.Interface())
		if why != "" && value != encode(standard[f.path]) {
			keys = append(keys, fmt.Sprintf("%s=%s (%s)", f.path, value, why))
		}
	}
	return keys
}

// Diff lists the keys on which two configurations differ, as "train.lr: 0.001 -> 0.002".
func Diff(from, to *Config) []string {
	var lines []string
	a, b := fields(from), fields(to)
	for i := range a {
		x, y := encode(a[i].value.Interface()), encode(b[i].value.Interface())
		if x != y {
			lines = append(lines, fmt.Sprintf("%s: %s -> %s", a[i].path, x, y))
		}
	}
	return lines
}

var plainWord = regexp.MustCompile(`^[A-Za-z_./][A-Za-z0-9_./-]*$`)

// encode writes a value as YAML.
func encode(v any) string {
	switch x := v.(type) {
	case nil:
		return "null"
	case string:
		switch strings.ToLower(x) {
		case "y", "n", "yes", "no", "on", "off", "true", "false", "null":
			return strconv.Quote(x)
		}
		if plainWord.MatchString(x) && !strings.HasPrefix(x, ".") {
			return x
		}
		text, err := json.Marshal(x)
		if err != nil {
			panic(err)
		}
		return string(text)
	case float64:
		return strconv.FormatFloat(x, 'g', -1, 64)
	case Pair:
		return encode(x[:])
	case [2]int:
		return fmt.Sprintf("[%d, %d]", x[0], x[1])
	case []float64:
		parts := make([]string, len(x))
		for i, f := range x {
			parts[i] = encode(f)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case []string:
		parts := make([]string, len(x))
		for i, s := range x {
			parts[i] = encode(s)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return fmt.Sprint(v)
}

// decisions are the reasons behind defaults where the DINO-MX paper and its code disagree or are silent.
var decisions = map[string]string{
	"train.global_batch_size":      "the code's meaning (all ranks together) is kept; batch_size_per_gpu wins; a remainder is an error",
	"train.freeze_backbone_layers": "the embeddings below are frozen too, or no compute is saved",
	"train.warmup_teacher_temp":    "the schedule is used in every recipe, not only logged",
	"train.centering":              "an unknown value is refused; it must never mean raw logits",
	"optim.lr_scaling":             "DINO-MX does not scale the rate with the batch; the published rules are available by name",
	"ibot.loss_weight":             "printed as it enters the total, so that the parts of a log line sum to it",
	"augment.blur_mode":            "intended is DINO v1's; the released DINOv2 and DINOv3 code inverts the probability",
	"augment.vertical_flip":        "off for colour images as in DINO v1; the paper's table lists it, its code does not",
	"crops.local_crops_size":       "refused when it is no multiple of the patch, where DINO-MX lost the rest silently",
	"dataset.eval_split":           "the official test split where there is one; its name stands in every report",
	"lora_config.target_modules":   "query and value as the paper says; the code also adapted key",
}
