package checks

import (
	"cmp"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// arrowBars are the most arrows between files of one package that may run back up. An arrow leads from a file to another
// of the package in which a name that it uses is declared: a function, type, method, field, variable or constant. It
// runs back up if it is against the layering: the order of the files, found by backArrows, against which fewest arrows run.
// An arrow up closes a circle, so a package without any can be read and tested file by file from the bottom.
var arrowBars = map[string]int{
	"kernels/ptx":        0,
	"kernels/ptx/syntax": 0,
	"data":               0,
	"data/source":        0,
	"data/decode":        0,
	"data/decode/jpeg":   0,
	"data/augment":       0,
	"data/loader":        0,
	"data/stats":         0,
	"data/npy":           0,
}

func TestArrowsBetweenFilesRunDown(t *testing.T) {
	for pkg, bar := range arrowBars {
		arrows := fileArrows(t, filepath.Join(root(t), pkg))
		back := backArrows(arrows)
		total := 0
		for _, to := range arrows {
			total += len(to)
		}
		t.Logf("%s: %d arrows between %d files, %d back up", pkg, total, len(arrows), len(back))
		if len(back) > bar {
			t.Errorf("%s: %d arrows between files run back up, at most %d may:\n%s", pkg, len(back), bar, strings.Join(back, "\n"))
		}
	}
}

// arrowsOf are the arrows of each file: to which others, and for which names.
type arrowsOf map[string]map[string][]string

func (a arrowsOf) has(from, to string) bool { return len(a[from][to]) > 0 }

// fileArrows are the arrows between the files of the package in dir, tests aside.
func fileArrows(t *testing.T, dir string) arrowsOf {
	ctx := build.Default
	ctx.BuildTags = []string{"cpu"}
	pkg, err := ctx.ImportDir(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range pkg.GoFiles {
		f, err := parser.ParseFile(set, filepath.Join(dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	// Other packages are empty: names of them stay unresolved, those of this one do not.
	conf := types.Config{Importer: emptyPackages{}, Error: func(error) {}}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	self, _ := conf.Check(dir, set, files, info)
	arrows := arrowsOf{}
	file := func(p token.Pos) string { return filepath.Base(set.Position(p).Filename) }
	for _, f := range files {
		arrows[file(f.Package)] = map[string][]string{}
	}
	for id, o := range info.Uses {
		if o.Pkg() != self || !o.Pos().IsValid() {
			continue
		}
		if from, to := file(id.Pos()), file(o.Pos()); from != to {
			if names := arrows[from][to]; !slices.Contains(names, id.Name) {
				arrows[from][to] = append(names, id.Name)
			}
		}
	}
	return arrows
}

type emptyPackages struct{}

func (emptyPackages) Import(path string) (*types.Package, error) {
	p := types.NewPackage(path, path[strings.LastIndex(path, "/")+1:])
	p.MarkComplete()
	return p, nil
}

// backArrows orders the files and returns the arrows that run from a lower file to a higher one, each with its names. The
// order begins with sinks and sources peeled off (Eades, Lin and Smyth 1993) and is then improved: each file moves to
// the place that leaves fewest arrows back up, until none gains.
func backArrows(arrows arrowsOf) []string {
	order := peel(arrows)
	against := func(from, to string) int {
		if arrows.has(from, to) {
			return 1
		}
		return 0
	}
	for moved := true; moved; {
		moved = false
		for _, f := range slices.Sorted(maps.Keys(arrows)) {
			at := slices.Index(order, f)
			rest := slices.Delete(slices.Clone(order), at, at+1)
			// The arrows back up of f at place 0, where all others lie above it.
			n := 0
			for _, g := range rest {
				n += against(f, g)
			}
			best, place, here := n, 0, n
			for i, g := range rest {
				n += against(g, f) - against(f, g)
				if n < best {
					best, place = n, i+1
				}
				if i+1 == at {
					here = n
				}
			}
			if best < here {
				order, moved = slices.Insert(rest, place, f), true
			}
		}
	}
	var back []string
	for i, from := range order {
		for _, to := range order[i+1:] {
			if names := arrows[from][to]; len(names) > 0 {
				slices.Sort(names)
				back = append(back, from+" -> "+to+" for "+strings.Join(names, ", "))
			}
		}
	}
	slices.Sort(back)
	return back
}

// peel is an order of the files from the bottom: those that use no other left are at the bottom, those that no other left
// uses at the top, and of the others the one with most users and fewest uses comes next from below.
func peel(arrows arrowsOf) []string {
	left := slices.Sorted(maps.Keys(arrows))
	var bottom, top []string
	for len(left) > 0 {
		uses, users := map[string]int{}, map[string]int{}
		for _, from := range left {
			for _, to := range left {
				if arrows.has(from, to) {
					uses[from]++
					users[to]++
				}
			}
		}
		pick := slices.MinFunc(left, func(a, b string) int {
			rank := func(f string) int {
				switch {
				case uses[f] == 0:
					return 0
				case users[f] == 0:
					return 1
				}
				return 2
			}
			return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(uses[a]-users[a], uses[b]-users[b]), cmp.Compare(a, b))
		})
		if uses[pick] > 0 && users[pick] == 0 {
			top = append(top, pick)
		} else {
			bottom = append(bottom, pick)
		}
		left = slices.DeleteFunc(left, func(f string) bool { return f == pick })
	}
	slices.Reverse(top)
	return append(bottom, top...)
}

// The order is found where there is one, and a circle has one arrow back up.
func TestBackArrows(t *testing.T) {
	x := []string{"x"}
	arrows := arrowsOf{"a": {"b": x, "c": x}, "b": {"c": x}, "c": {}, "d": {"a": x, "c": x}}
	if back := backArrows(arrows); len(back) != 0 {
		t.Errorf("%v", back)
	}
	arrows["c"] = map[string][]string{"d": x}
	if back := backArrows(arrows); len(back) != 1 || back[0] != "c -> d for x" {
		t.Errorf("%v", back)
	}
}
