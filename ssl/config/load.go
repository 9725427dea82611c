package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// commandLine is the File of an Error about an override.
const commandLine = "command line"

// maxFile is the largest number of bytes that is parsed, far more than any configuration has.
const maxFile = 1 << 20

// Load reads a configuration: the defaults, over them the recipe or file called name, over that the
// "key=value" overrides, and at last the shape of a known model for the model keys nobody gave. name is an
// embedded recipe's name, a path, or "" for the defaults alone. The result has passed Validate.
//
// The error is Errors, an error of the file system, or both kinds of mistake in one Errors.
func Load(name string, overrides ...string) (*Config, error) {
	r := newReader()
	if name != "" {
		text, file, err := open(name)
		if err != nil {
			return nil, err
		}
		r.file(file, text)
	}
	return r.finish(overrides)
}

// Parse is Load of a file that is already in memory.
func Parse(file string, text []byte, overrides ...string) (*Config, error) {
	r := newReader()
	r.file(file, text)
	return r.finish(overrides)
}

func open(name string) (text []byte, file string, err error) {
	if !strings.ContainsAny(name, `/\.`) {
		if text, err := recipes.ReadFile("recipes/" + name + ".yaml"); err == nil {
			return text, "recipe " + name, nil
		}
	}
	f, err := openFile(name)
	if errors.Is(err, os.ErrNotExist) {
		known := Recipes()
		fix := "give the path of a YAML file or one of the recipes " + strings.Join(known, ", ")
		if s := nearest(name, known); s != "" {
			fix = "did you mean the recipe " + s + "? known are " + strings.Join(known, ", ")
		}
		return nil, "", &Error{File: name, Want: "no such file and no such recipe", Fix: fix}
	}
	if err != nil {
		return nil, "", fmt.Errorf("configuration: %w", err)
	}
	defer f.Close()
	text, err = readFile(f)
	if err != nil {
		return nil, "", fmt.Errorf("configuration %s: %w", name, err)
	}
	if len(text) > maxFile {
		return nil, "", &Error{File: name, Want: "expected a YAML file of at most 1 MiB", Fix: "check that this is the configuration"}
	}
	return text, name, nil
}

// reader collects values and mistakes; origin remembers who gave a key.
type reader struct {
	config *Config
	byPath map[string]field
	known  []string
	origin map[string]place
	source string // the file read, for mistakes that lie in a default it keeps
	errs   Errors
}

type place struct {
	file string
	line int
}

func newReader() *reader {
	r := &reader{config: Default(), byPath: map[string]field{}, origin: map[string]place{}}
	for _, f := range fields(r.config) {
		r.byPath[f.path] = f
		r.known = append(r.known, f.path)
	}
	return r
}

func (r *reader) finish(overrides []string) (*Config, error) {
	for _, o := range overrides {
		r.override(o)
	}
	if len(r.errs) > 0 {
		return nil, r.errs
	}
	r.fillModel()
	r.errs = append(r.errs, r.config.check(func(path string) place {
		if at, ok := r.origin[path]; ok {
			return at
		}
		return place{file: r.source}
	})...)
	if len(r.errs) > 0 {
		return nil, r.errs
	}
	return r.config, nil
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

// file reads one YAML document.
func (r *reader) file(name string, text []byte) {
	r.source = name
	fail := func(line int, want, fix string) {
		r.errs = append(r.errs, &Error{File: name, Line: line, Want: want, Fix: fix})
	}
	if line := secondDocument(text); line > 0 {
		fail(line, "expected one YAML document", "remove the line ---, or put the second document in a file of its own")
		return
	}
	js, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		msg, line := strings.TrimPrefix(err.Error(), "yaml: "), 0
		msg = strings.TrimPrefix(strings.TrimSpace(strings.TrimPrefix(msg, "unmarshal errors:")), "yaml: ")
		if m := yamlLine.FindStringSubmatch(msg); m != nil {
			line, _ = strconv.Atoi(m[1])
			msg = strings.Replace(msg, m[0], "", 1)
		}
		fail(line, "not valid YAML: "+strings.ReplaceAll(strings.TrimSpace(msg), "\n", "; "), "correct the file")
		return
	}
	dec := json.NewDecoder(bytes.NewReader(js))
	dec.UseNumber()
	var doc any
	if err := dec.Decode(&doc); err != nil {
		fail(0, "not valid YAML: "+err.Error(), "correct the file")
		return
	}
	top, ok := doc.(map[string]any)
	if !ok || len(top) == 0 {
		fail(0, "expected sections such as train: and crops:, found "+describe(doc), "see dmx config show for a complete file")
		return
	}
	r.section(name, text, "", top)
}

// secondDocument returns the line of a document marker after the first content, or 0.
func secondDocument(text []byte) int {
	content := false
	for i, line := range strings.Split(string(text), "\n") {
		if line == "---" || strings.HasPrefix(line, "--- ") {
			if content {
				return i + 1
			}
			content = line != "---"
			continue
		}
		if t := strings.TrimSpace(line); t != "" && t[0] != '#' && t[0] != '%' {
			content = true
		}
	}
	return 0
}

func (r *reader) section(file string, text []byte, prefix string, m map[string]any) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		path := prefix + k
		if sub, ok := m[k].(map[string]any); ok && slices.ContainsFunc(r.known, func(s string) bool { return strings.HasPrefix(s, path+".") }) {
			r.section(file, text, path+".", sub)
			continue
		}
		if m[k] == nil && prefix == "" && r.isSection(k) {
			continue // a section whose keys are all commented out
		}
		r.set(path, m[k], place{file, lineOf(text, path)})
	}
}

func (r *reader) isSection(key string) bool {
	keys, _ := sections()
	return slices.Contains(keys, key)
}

// set stores one value and records a mistake if it has the wrong type or nobody knows the key.
func (r *reader) set(path string, raw any, at place) {
	e := &Error{File: at.file, Line: at.line, Key: path}
	f, ok := r.byPath[path]
	if !ok {
		if r.isSection(path) {
			e.Value, e.Want, e.Fix = describe(raw), "expected the keys of this section", "indent them below "+path+":"
		} else {
			e.Want = "unknown key"
			e.Fix = "dmx config show --docs lists every key"
			if k := nearestKey(path, r.known); k != "" {
				e.Fix = "did you mean " + k + "?"
			}
		}
		r.errs = append(r.errs, e)
		return
	}
	if !assign(f, raw) {
		e.Value, e.Want = describe(raw), "expected "+f.expectation()
		e.Fix = "the default is " + encode(defaults()[path])
		r.errs = append(r.errs, e)
		return
	}
	r.origin[path] = at
}

// override applies one key=value of the command line. The value is read as YAML, except that a text key takes
// it literally unless it is quoted.
func (r *reader) override(s string) {
	at := place{file: commandLine}
	path, text, ok := strings.Cut(s, "=")
	path = strings.TrimSpace(path)
	if !ok || path == "" {
		r.errs = append(r.errs, &Error{File: commandLine, Value: strconv.Quote(s), Want: "expected key=value",
			Fix: "for example train.lr=0.001"})
		return
	}
	if f, ok := r.byPath[path]; ok && f.value.Kind().String() == "string" && !strings.HasPrefix(text, `"`) && !strings.HasPrefix(text, `'`) {
		r.set(path, text, at)
		return
	}
	var raw any
	js, err := yaml.YAMLToJSONStrict([]byte(text))
	if err == nil {
		dec := json.NewDecoder(bytes.NewReader(js))
		dec.UseNumber()
		err = dec.Decode(&raw)
	}
	if err != nil {
		raw = text
	}
	r.set(path, raw, at)
}

// describe shows a decoded value as it might have been written, shortened.
func describe(raw any) string {
	switch x := raw.(type) {
	case nil:
		return "nothing"
	case map[string]any:
		return "a section"
	case []any:
		parts := make([]string, len(x))
		for i, v := range x {
			parts[i] = describe(v)
		}
		return shorten("[" + strings.Join(parts, ", ") + "]")
	case string:
		return shorten(strconv.Quote(x))
	}
	return shorten(fmt.Sprint(raw))
}

func shorten(s string) string {
	if r := []rune(s); len(r) > 80 {
		return string(r[:77]) + "…"
	}
	return s
}

// lineOf finds the line of a key path in block-style YAML; 0 when it is not there.
func lineOf(text []byte, path string) int {
	parts := strings.Split(path, ".")
	depth, indent := 0, -1
	for i, line := range strings.Split(string(text), "\n") {
		trimmed := strings.TrimLeft(line, " ")
		n := len(line) - len(trimmed)
		if trimmed == "" || trimmed[0] == '#' {
			continue
		}
		if depth > 0 && n <= indent {
			return 0
		}
		key, _, ok := strings.Cut(trimmed, ":")
		if !ok || strings.Trim(strings.TrimSpace(key), `"'`) != parts[depth] || depth == 0 && n != 0 {
			continue
		}
		depth++
		if depth == len(parts) {
			return i + 1
		}
		indent = n
	}
	return 0
}
