package checks

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// guides are the texts that tell a contributor where things are.
var guides = []string{"CONTRIBUTING.md", "ARCHITECTURE.md"}

// notOfTheTree are code spans that name no file, identifier or command of the repository.
var notOfTheTree = map[string]bool{"room: verb …": true, "~/.nv/ComputeCache": true}

// inventory is what the guides may name: the tracked files and the text of the Go files among them, by path.
type inventory struct {
	files   []string
	sources map[string]string
	recipes string // the justfile
}

func readInventory(t *testing.T) inventory {
	t.Helper()
	inv := inventory{files: tracked(t), sources: map[string]string{}}
	for _, f := range inv.files {
		if path.Ext(f) == ".go" || f == "justfile" {
			text, err := os.ReadFile(filepath.Join(root(t), f))
			if err != nil {
				t.Fatal(err)
			}
			if f == "justfile" {
				inv.recipes = string(text)
			} else {
				inv.sources[f] = string(text)
			}
		}
	}
	return inv
}

// Every file, package, identifier, test and command that a guide names is there.
func TestGuidesNameWhatExists(t *testing.T) {
	inv := readInventory(t)
	for _, guide := range guides {
		text, err := os.ReadFile(filepath.Join(root(t), guide))
		if err != nil {
			t.Fatal(err)
		}
		missing, spans := inv.missing(string(text))
		for _, m := range missing {
			t.Errorf("%s: %s", guide, m)
		}
		if spans < 20 {
			t.Errorf("%s: only %d names were found to look for", guide, spans)
		}
	}
}

var (
	codeSpan   = regexp.MustCompile("`([^`\n]+)`")
	itemStart  = regexp.MustCompile(`^(\d+\. |- |\|)`)
	identifier = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*`)
	// A qualified identifier is looked for in the package that it names, an environment variable everywhere.
	qualified   = regexp.MustCompile(`^([a-z]+)\.([A-Z][A-Za-z0-9]*)$`)
	environment = regexp.MustCompile(`^([A-Z][A-Z_]*_[A-Z_]+)(=\S*)?$`)
	flagWord    = regexp.MustCompile(`^--?([a-z]+)$`)
)

// missing lists what the code spans and shell blocks of a Markdown text name and inv does not have, and returns the
// number of spans that were looked for. A file or identifier without a folder belongs to the folders that the same
// paragraph, list item or table row names, or to any when it names none.
func (inv inventory) missing(text string) (missing []string, spans int) {
	complain := func(span, why string) { missing = append(missing, fmt.Sprintf("`%s`: %s", span, why)) }
	for _, block := range shellBlock.FindAllStringSubmatch(text, -1) {
		for _, line := range strings.Split(strings.TrimSpace(block[1]), "\n") {
			command, _, _ := strings.Cut(line, "#")
			spans++
			if why := inv.command(strings.Fields(command)); why != "" {
				complain(strings.TrimSpace(command), why)
			}
		}
	}
	text = regexp.MustCompile("(?s)```.*?```").ReplaceAllString(text, "")
	for _, item := range items(text) {
		folders := inv.folders(item)
		for _, match := range codeSpan.FindAllStringSubmatch(item, -1) {
			span := match[1]
			if notOfTheTree[span] {
				continue
			}
			spans++
			if why := inv.lookUp(span, folders); why != "" {
				complain(span, why)
			}
		}
	}
	return missing, spans
}

// items are the paragraphs, list items and table rows of a Markdown text.
func items(text string) []string {
	var all []string
	begin := true
	for _, line := range strings.Split(text, "\n") {
		switch {
		case strings.TrimSpace(line) == "":
			begin = true
			continue
		case begin || itemStart.MatchString(line):
			all = append(all, line)
		default:
			all[len(all)-1] += "\n" + line
		}
		begin = false
	}
	return all
}

// folders are those that the code spans of an item name: a folder itself, or that of a file.
func (inv inventory) folders(item string) []string {
	var all []string
	for _, match := range codeSpan.FindAllStringSubmatch(item, -1) {
		name := strings.TrimSuffix(match[1], "/")
		if inv.isFolder(name) {
			all = append(all, name)
		} else if strings.Contains(name, "/") && !strings.Contains(name, " ") && inv.isFolder(path.Dir(name)) {
			all = append(all, path.Dir(name))
		}
	}
	return all
}

func (inv inventory) isFolder(name string) bool {
	for _, f := range inv.files {
		if strings.HasPrefix(f, name+"/") {
			return true
		}
	}
	return false
}

// packagesCalled are the folders whose last element is name. There is always one, so that a package that does not exist
// is not looked for everywhere.
func (inv inventory) packagesCalled(name string) []string {
	all := []string{name}
	for f := range inv.sources {
		if dir := path.Dir(f); path.Base(dir) == name {
			all = append(all, dir)
		}
	}
	return all
}

// lookUp returns what is wrong with the name in a code span, or the empty string.
func (inv inventory) lookUp(span string, folders []string) string {
	words := strings.Fields(span)
	switch {
	case words[0] == "go" || words[0] == "just" || strings.HasPrefix(words[0], ".ci/"):
		return inv.command(words)
	case len(words) == 1 && (strings.Contains(span, "/") || isFileName(span)):
		return inv.file(span, folders)
	case len(words) == 1 && inv.isFolder(span):
		return ""
	}
	if match := qualified.FindStringSubmatch(span); match != nil {
		if !inv.named(match[2], inv.packagesCalled(match[1])) {
			return fmt.Sprintf("no package %s declares %s", match[1], match[2])
		}
		return ""
	}
	if match := environment.FindStringSubmatch(span); match != nil {
		span, folders = match[1], nil
	}
	for _, name := range identifier.FindAllString(span, -1) {
		if !inv.isFolder(name) && !inv.named(name, folders) {
			return fmt.Sprintf("no Go file of %s has %s", anywhere(folders), name)
		}
	}
	return ""
}

var fileExtension = regexp.MustCompile(`\.(go|cu|h|s|md|json|yaml|py|sh|ptx)$`)

func isFileName(span string) bool { return fileExtension.MatchString(span) }

func anywhere(folders []string) string {
	if len(folders) == 0 {
		return "the repository"
	}
	return strings.Join(folders, ", ")
}

// file looks for a path in which * and NAME stand for any name. NAME is what a contributor is to add.
func (inv inventory) file(name string, folders []string) string {
	if inv.isFolder(strings.TrimSuffix(name, "/")) {
		return ""
	}
	pattern := strings.ReplaceAll(name, "NAME", "*")
	if path.Ext(pattern) == pattern { // ".cu": any file of the kind
		pattern = "*" + pattern
	}
	for _, f := range inv.files {
		if ok, err := path.Match(pattern, f); err == nil && ok {
			return ""
		}
		if strings.Contains(pattern, "/") {
			continue
		}
		if ok, err := path.Match(pattern, path.Base(f)); err == nil && ok && under(f, folders) {
			return ""
		}
	}
	return "no such file under " + anywhere(folders)
}

func under(file string, folders []string) bool {
	for _, dir := range folders {
		if strings.HasPrefix(file, dir+"/") {
			return true
		}
	}
	return len(folders) == 0
}

// named reports whether a Go file under folders declares name, if it is exported, or has it as a word, if it is not
// (a key, a tag of a field, an environment variable).
func (inv inventory) named(name string, folders []string) bool {
	word := regexp.MustCompile(`\b` + name + `\b`)
	if name[0] >= 'A' && name[0] <= 'Z' && strings.ToUpper(name) != name {
		word = regexp.MustCompile(`(?m)^(func (\([^)]*\) )?|type |var |const |\t)` + name + `\b`)
	}
	for f, text := range inv.sources {
		if under(f, folders) && word.MatchString(text) {
			return true
		}
	}
	return false
}

// command looks for the recipe of a just command, the script of a path, and the packages, tests and flags of go test
// and go run.
func (inv inventory) command(words []string) string {
	switch {
	case words[0] == "just":
		if len(words) < 2 || !regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(words[1])+`( [^:]*)?:`).MatchString(inv.recipes) {
			return "the justfile has no such recipe"
		}
		return ""
	case words[0] != "go":
		return inv.file(words[0], nil)
	}
	var folders []string
	for i, w := range words {
		dir := strings.TrimSuffix(strings.TrimPrefix(w, "./"), "/...")
		switch {
		case !strings.HasPrefix(w, "./") || w == "./...":
		case !inv.isFolder(dir):
			return "no folder " + dir
		default:
			folders = append(folders, dir)
		}
		if w == "-run" && i+1 < len(words) {
			test, _, _ := strings.Cut(strings.Trim(words[i+1], "'"), "/")
			if !inv.tested(test, folders) {
				return fmt.Sprintf("no test of %s matches %s", anywhere(folders), test)
			}
		}
		if match := flagWord.FindStringSubmatch(w); match != nil && words[1] == "run" && len(folders) > 0 {
			if !inv.quoted(match[1], folders) {
				return fmt.Sprintf("%s has no flag %s", anywhere(folders), w)
			}
		}
	}
	return ""
}

// tested reports whether a test file under folders has a test whose name matches pattern.
func (inv inventory) tested(pattern string, folders []string) bool {
	test := regexp.MustCompile(`(?m)^func Test\w*(` + pattern + `)`)
	for f, text := range inv.sources {
		if strings.HasSuffix(f, "_test.go") && under(f, folders) && test.MatchString(text) {
			return true
		}
	}
	return false
}

// quoted reports whether a Go file under folders has the string literal name, as the declaration of a flag does.
func (inv inventory) quoted(name string, folders []string) bool {
	for f, text := range inv.sources {
		if under(f, folders) && strings.Contains(text, `"`+name+`"`) {
			return true
		}
	}
	return false
}

// Each wrong name is noticed, and what is right is not.
func TestGuideNames(t *testing.T) {
	inv := inventory{
		files: []string{"room/open.go", "room/open_test.go", "room/sub/make.cu", "justfile", ".ci/run"},
		sources: map[string]string{
			"room/open.go": "package room\n\n// Reader reads.\ntype Reader struct {\n\tWidth int // in pixels\n}\n\n" +
				"func Open() { flag(\"depth\"); use(Closed, \"ROOM_DEPTH\") }\n",
			"room/open_test.go": "package room\n\nfunc TestOpenTwice(t *testing.T) {}\n",
		},
		recipes: "build:\n    go build\n\nmeasure path:\n    go test\n",
	}
	for text, wrong := range map[string]int{
		"`room/open.go`, `room/sub/`, `room/*.go`, `room/NAME_test.go`, `.cu`": 0,
		"`room/shut.go`":                             1,
		"`roof/`":                                    1,
		"`room/*.h`":                                 1,
		"`.h`":                                       1,
		"`room`: `open.go`":                          0,
		"`room/sub/make.cu` and `open.go`":           1,
		"1. `room/sub/make.cu`\n2. `open.go`":        0,
		"`room/sub/make.cu`\n\n`open.go`":            0,
		"`Open`, `room.Reader`, `Width`, `pixels`":   0,
		"`Shut`":                                     1,
		"`Closed`":                                   1, // used, not declared
		"`inches`":                                   1,
		"`room/sub`: `room.Open`":                    0,
		"`room.Shut`":                                1,
		"`roof.Open`":                                1,
		"`room/sub`: `ROOM_DEPTH=1`":                 0,
		"`ROOM_WIDTH=1`":                             1,
		"`room/sub`: `Open`":                         1,
		"`TestOpenTwice`":                            0,
		"`TestOpenThrice`":                           1,
		"`just build`, `just measure FILE`":          0,
		"`just rebuild`":                             1,
		"`go test ./room/... -run 'OpenTwice/a'`":    0,
		"`go test ./room -run OpenThrice`":           1,
		"`go test ./roof`":                           1,
		"`go run -tags cpu ./room --depth 3`":        0,
		"`go run -tags cpu ./room --height 3`":       1,
		"```sh\n.ci/run   # all\ngo test ./...\n```": 0,
		"```sh\n.ci/walk\n```":                       1,
	} {
		if missing, _ := inv.missing(text); len(missing) != wrong {
			t.Errorf("%q: %d wrong names, want %d: %v", text, len(missing), wrong, missing)
		}
	}
}
