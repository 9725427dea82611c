package hf

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dino-mx/dmx/tensor/safetensors"
)

// Item is one line of a report.
type Item struct {
	Name   string           // Hugging Face name; empty for a stored tensor that has none
	Stored string           // name in the file; empty for a tensor that is not stored
	Info   safetensors.Info // type and shape in the file, where stored
	Why    string

	InTrunk bool // the name belongs to a trunk, so that ignoring the tensor could change features
}

// Report lists what became of every tensor of a file and of a model.
type Report struct {
	Loaded      []Item
	Initialised []Item // in the model, not in the file, and that is expected
	Ignored     []Item // in the file, not in the model, and that is expected
	Missing     []Item // in the model, not in the file
	Unexpected  []Item // in the file, unexplained
	Mismatched  []Item // in both, of different shape
	// Unsupported tensors are known to change what the model computes in a way that this program does not implement.
	Unsupported []Item
}

// Err is nil if the report has nothing unexplained, apart from what is allowed. Shapes must always agree, and what is
// unsupported is never allowed. The error names an option only where that cannot change the features.
func (r *Report) Err(allowMissing, allowUnexpected bool) error {
	var bad []string
	add := func(what string, items []Item) {
		for i, it := range items {
			if i == 5 {
				bad = append(bad, fmt.Sprintf("and %d more %s", len(items)-i, what))
				return
			}
			name := it.Name
			if name == "" {
				name = it.Stored
			}
			line := what + " " + name
			if it.Why != "" {
				line += " (" + it.Why + ")"
			}
			bad = append(bad, line)
		}
	}
	add("unsupported:", r.Unsupported)
	add("wrong shape:", r.Mismatched)
	hint := ""
	if !allowMissing {
		add("missing:", r.Missing)
	}
	if !allowUnexpected {
		add("unexpected:", r.Unexpected)
	}
	if harmless := !slices.ContainsFunc(r.Unexpected, func(it Item) bool { return it.InTrunk }); harmless && len(bad) > 0 &&
		len(r.Unexpected) > 0 && len(r.Unsupported)+len(r.Mismatched) == 0 && (allowMissing || len(r.Missing) == 0) {
		hint = "; --allow-unexpected ignores them"
	}
	if len(bad) == 0 {
		return nil
	}
	return fmt.Errorf("the weights do not fit the model: %s%s", strings.Join(bad, ", "), hint)
}

// Print writes the report as a table, one line per tensor.
func (r *Report) Print(w io.Writer) {
	section := func(title string, items []Item) {
		for _, it := range items {
			name := it.Name
			if name == "" {
				name = it.Stored
			}
			line := fmt.Sprintf("%-11s %-64s", title, name)
			if it.Info.Name != "" {
				line += fmt.Sprintf(" %-4s %-18s", it.Info.DType, it.Info.Shape)
				if it.Stored != it.Name && it.Name != "" {
					line += " from " + it.Stored
				}
			}
			if it.Why != "" {
				line += " " + it.Why
			}
			fmt.Fprintln(w, strings.TrimRight(line, " "))
		}
	}
	section("loaded", r.Loaded)
	section("initialised", r.Initialised)
	section("ignored", r.Ignored)
	section("missing", r.Missing)
	section("unexpected", r.Unexpected)
	section("mismatched", r.Mismatched)
	section("unsupported", r.Unsupported)
}

// Summary returns the report's numbers in one line.
func (r *Report) Summary() string {
	s := fmt.Sprintf("%d tensors loaded, %d initialised, %d ignored", len(r.Loaded), len(r.Initialised), len(r.Ignored))
	if n := len(r.Missing); n > 0 {
		s += fmt.Sprintf(", %d missing", n)
	}
	if n := len(r.Unexpected); n > 0 {
		s += fmt.Sprintf(", %d unexpected", n)
	}
	if n := len(r.Mismatched); n > 0 {
		s += fmt.Sprintf(", %d of another shape", n)
	}
	if n := len(r.Unsupported); n > 0 {
		s += fmt.Sprintf(", %d unsupported", n)
	}
	return s
}
