package checks

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/dino-mx/dmx/"

// room is one part of the house and the rooms it may import besides its own packages. Longer prefixes are
// listed first: a package belongs to the first room that it is in.
type room struct {
	prefix string
	may    []string
}

// house is the table of ARCHITECTURE.md. The kernel rooms see only the contract above them; a room's own
// sub-packages are free to import each other.
var house = []room{
	{"kernels/cuda/gpu", nil},
	{"kernels/cuda/driver", []string{"kernels/cuda/gpu"}},
	{"kernels/cuda/drivertest", []string{"kernels/cuda/gpu"}},
	{"kernels/cuda/queue", []string{"tensor", "kernels/cuda/gpu"}},
	{"kernels/cuda", []string{"tensor", "kernels", "kernels/cuda/gpu", "kernels/cuda/queue"}},
	{"kernels/ptx", []string{"tensor", "kernels", "kernels/cuda/gpu"}},
	{"kernels/device", []string{"tensor", "kernels", "kernels/cpu", "kernels/cuda", "kernels/cuda/driver", "kernels/cuda/gpu", "kernels/ptx", "kernels/optest"}},
	{"kernels/cpu", []string{"tensor", "kernels"}},
	{"kernels/ref", []string{"tensor", "kernels"}},
	{"kernels/optest", []string{"tensor", "kernels", "kernels/ref"}},
	{"kernels", []string{"tensor"}},
	{"tensor", nil},
	{"autograd", []string{"tensor", "kernels"}},
	{"data/fashionmnist", nil},
	{"data/npy", nil},
	{"data/decode", []string{"data"}},
	{"data/source", []string{"data", "data/decode", "data/npy", "data/fashionmnist"}},
	{"data/stats", []string{"data"}},
	{"data/augment", []string{"tensor", "data"}},
	{"data/loader", []string{"tensor", "data"}},
	{"data", []string{"tensor"}},
	{"nn", []string{"tensor", "kernels", "autograd"}},
	{"parallel", []string{"tensor", "kernels", "autograd"}},
	{"ssl/config", nil},
	{"ssl", []string{"tensor", "kernels", "kernels/device", "autograd", "nn", "parallel",
		"data", "data/source", "data/stats", "data/augment", "data/loader", "data/npy", "ssl/config"}},
	{"tools", []string{"*"}},
	{"bench", []string{"*"}},
}

// inTests are rooms that any test above them may use besides its own arrows: backends to run on, drivers to put under
// them, and the oracle to compare with.
var inTests = []string{
	"kernels/cpu", "kernels/cuda", "kernels/cuda/gpu", "kernels/cuda/drivertest", "kernels/ptx", "kernels/ref", "kernels/optest",
}

func roomOf(path string) (room, bool) {
	for _, r := range house {
		if path == r.prefix || strings.HasPrefix(path, r.prefix+"/") {
			return r, true
		}
	}
	return room{}, false
}

// allowed tells whether a package of room from may import path.
func allowed(from room, path string, test bool) bool {
	to, ok := roomOf(path)
	if !ok {
		return false
	}
	if to.prefix == from.prefix || slices.Contains(from.may, "*") || slices.Contains(from.may, to.prefix) {
		return true
	}
	return test && slices.Contains(inTests, to.prefix)
}

type pkg struct {
	ImportPath                         string
	Dir                                string
	GoFiles, IgnoredGoFiles            []string
	Imports, TestImports, XTestImports []string
}

// packages lists every package of the module as the pure-Go build sees it, without the network.
func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-tags", "cpu", "-json=ImportPath,Dir,GoFiles,IgnoredGoFiles,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), "GOPROXY=off", "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var list []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); err == io.EOF {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

// root is the top folder of the repository.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestImportsPointDownwards(t *testing.T) {
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.ImportPath, module)
		from, ok := roomOf(path)
		if !ok {
			t.Errorf("%s is in no room of the house", path)
			continue
		}
		check := func(imports []string, test bool) {
			for _, imp := range imports {
				if rest, ours := strings.CutPrefix(imp, module); ours && !allowed(from, rest, test) {
					t.Errorf("%s must not import %s: the room %s may see %s", path, rest, from.prefix, strings.Join(from.may, ", "))
				}
			}
		}
		check(p.Imports, false)
		check(p.TestImports, true)
		check(p.XTestImports, true)
	}
}

func TestArrowRules(t *testing.T) {
	for _, c := range []struct {
		from, to string
		test, ok bool
	}{
		{"tensor", "kernels", false, false},
		{"kernels/cpu/gemm", "kernels/cpu/pool", false, true},
		{"kernels/cpu", "kernels/ref", false, false},
		{"kernels/cpu", "kernels/ref", true, true},
		{"kernels", "kernels/cpu", false, false},
		{"autograd", "nn", false, false},
		{"nn/optim", "autograd", false, true},
		{"nn", "ssl", true, false},
		{"nn", "kernels/cpu", false, false},
		{"nn", "kernels/cpu", true, true},
		{"data", "nn", true, false},
		{"ssl/config", "ssl", false, false},
		{"ssl/run", "ssl/config", false, true},
		{"parallel", "ssl", false, false},
		{"tools/dmx", "ssl/run", false, true},
		{"kernels/cuda", "kernels/cuda/driver", false, false},
		{"kernels/cuda/driver", "kernels/cuda", false, false},
		{"kernels/cuda/queue", "kernels/cuda", false, false},
		{"ssl/run", "kernels/device", false, true},
		{"ssl/run", "kernels/cuda", false, false},
		{"ssl/run", "kernels/cuda", true, true},
		{"nn", "nowhere", false, false},
	} {
		from, ok := roomOf(c.from)
		if !ok {
			t.Fatalf("no room for %s", c.from)
		}
		if got := allowed(from, c.to, c.test); got != c.ok {
			t.Errorf("%s importing %s (test %v): allowed = %v", c.from, c.to, c.test, got)
		}
	}
}

func TestPackageNamesSayWhatTheyHold(t *testing.T) {
	vague := []string{"util", "utils", "common", "helper", "helpers", "misc", "shared", "base", "lib"}
	for _, p := range packages(t) {
		for _, part := range strings.Split(strings.TrimPrefix(p.ImportPath, module), "/") {
			if slices.Contains(vague, part) {
				t.Errorf("package %s: the name %q says nothing", p.ImportPath, part)
			}
		}
	}
}

func TestEveryPackageIsDescribed(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) == 0 {
			continue
		}
		found := false
		for _, name := range slices.Concat(p.GoFiles, p.IgnoredGoFiles) {
			text, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			found = found || bytes.Contains(text, []byte("// Package ")) || bytes.Contains(text, []byte("// Command "))
		}
		if !found {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}
