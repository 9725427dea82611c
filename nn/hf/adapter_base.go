package hf

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/dino-mx/dmx/nn"
)

// BaseNotes compares the model that the adapter's config names with the one it is put on: name is what the user gave
// for it, c is what was opened. Every line says one difference in full. The names of folders count without the path to
// them, because a model keeps its name when it is copied.
func (a *Adapter) BaseNotes(name string, c *Checkpoint) []string {
	var notes []string
	if want := a.Config.BaseModel; want != "" && !sameModelName(want, name) && !sameModelName(want, c.nameInConfig()) {
		notes = append(notes, fmt.Sprintf("the adapter %s was trained on %s, and is put on %s", a.Path, want, name))
	}
	if family, ok := a.Config.baseFamily(); ok && family != c.Config.Family {
		notes = append(notes, fmt.Sprintf("the adapter %s was trained on a %s model, and %s is a %s model", a.Path, family, name, c.Config.Family))
	}
	return notes
}

func sameModelName(a, b string) bool {
	last := func(s string) string {
		s, _, _ = strings.Cut(s, "@") // a revision of the hub
		return filepath.Base(filepath.Clean(s))
	}
	return b != "" && last(a) == last(b)
}

// nameInConfig is where config.json says that the weights came from, or "".
func (c *Checkpoint) nameInConfig() string {
	var name string
	if raw, ok := c.Config.Extra["_name_or_path"]; ok && json.Unmarshal(raw, &name) != nil {
		return ""
	}
	return name
}

// baseFamily is the family of the class that auto_mapping names, where it names one of ours.
func (c *AdapterConfig) baseFamily() (nn.Family, bool) {
	for family, class := range classNames {
		if c.BaseClass == class {
			return nn.Family(family), true
		}
	}
	return 0, false
}
