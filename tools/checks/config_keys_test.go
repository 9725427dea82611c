package checks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/dino-mx/dmx/ssl/config"
)

const configPackage = module + "ssl/config"

// Every key of the configuration is read by a package of the program other than ssl/config, refused when it is set, or
// marked as without effect in the printed documentation. A key that was added without a reader fails here.
func TestEveryConfigurationKeyIsReadRefusedOrMarked(t *testing.T) {
	read := fieldsRead(t)
	docs := string(config.Default().YAML(true))
	for section := range reflect.TypeFor[config.Config]().Fields() {
		for leaf := range section.Type.Fields() {
			key := section.Tag.Get("json") + "." + leaf.Tag.Get("json")
			isRead := read[section.Type.Name()+"."+leaf.Name]
			refused, inert := leaf.Tag.Get("refused"), leaf.Tag.Get("inert")
			switch {
			case refused != "" && inert != "":
				t.Errorf("%s is both refused and without effect", key)
			case refused != "":
				if _, err := config.Load("", key+"="+other(leaf.Type)); err == nil || !strings.Contains(err.Error(), key) {
					t.Errorf("%s should be refused when it is set: %v", key, err)
				}
			case inert != "":
				if isRead {
					t.Errorf("%s is marked as without effect, but it is read", key)
				}
				if !strings.Contains(docs, "# accepted without effect: "+inert+"\n") {
					t.Errorf("the documentation of %s does not say that it is without effect", key)
				}
			case !isRead:
				t.Errorf("%s has no reader outside ssl/config: read it, or tag it refused or inert with the reason", key)
			}
		}
	}
}

// other is a value of type t that is no default of a refused key.
func other(t reflect.Type) string {
	if t.Kind() == reflect.Bool {
		return "true"
	}
	return "1"
}

// fieldsRead holds "Type.Field" for every field of a struct of ssl/config that another package of the program reads.
// A field that is only assigned to is not read.
func fieldsRead(t *testing.T) map[string]bool {
	t.Helper()
	list := exec.Command("go", "list", "-export", "-deps", "-tags", "cpu", "-json=ImportPath,Dir,GoFiles,Export,Imports", "./ssl/...", "./tools/dmx")
	list.Dir = root(t)
	list.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	type listed struct {
		ImportPath, Dir, Export string
		GoFiles, Imports        []string
	}
	exports := map[string]string{}
	var readers []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		if strings.HasPrefix(p.ImportPath, module) && strings.Contains(strings.Join(p.Imports, " ")+" ", configPackage+" ") {
			readers = append(readers, p)
		}
	}
	if len(readers) < 2 {
		t.Fatalf("only %d packages import ssl/config", len(readers))
	}
	fset := token.NewFileSet()
	imports := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("no export data for %s", path)
		}
		return os.Open(exports[path])
	})
	read := map[string]bool{}
	for _, p := range readers {
		var files []*ast.File
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		info := &types.Info{Selections: map[*ast.SelectorExpr]*types.Selection{}}
		if _, err := (&types.Config{Importer: imports}).Check(p.ImportPath, fset, files, info); err != nil {
			t.Fatal(err)
		}
		assigned := assignedTo(files)
		for e, s := range info.Selections {
			if s.Kind() == types.FieldVal && s.Obj().Pkg().Path() == configPackage && !assigned[e] {
				read[ownerName(s)+"."+s.Obj().Name()] = true
			}
		}
	}
	return read
}

// ownerName is the name of the struct type that the selected field belongs to.
func ownerName(s *types.Selection) string {
	recv := s.Recv()
	if p, ok := recv.(*types.Pointer); ok {
		recv = p.Elem()
	}
	if n, ok := recv.(*types.Named); ok {
		return n.Obj().Name()
	}
	return recv.String()
}

// assignedTo holds the selectors on the left of a plain assignment.
func assignedTo(files []*ast.File) map[*ast.SelectorExpr]bool {
	left := map[*ast.SelectorExpr]bool{}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			if a, ok := n.(*ast.AssignStmt); ok && a.Tok == token.ASSIGN {
				for _, e := range a.Lhs {
					if s, ok := e.(*ast.SelectorExpr); ok {
						left[s] = true
					}
				}
			}
			return true
		})
	}
	return left
}

// The rooms below ssl/run do not know the configuration: no message of theirs names one of its keys.
func TestNoRoomBelowNamesAConfigurationKey(t *testing.T) {
	var keys []string
	for section := range reflect.TypeFor[config.Config]().Fields() {
		for leaf := range section.Type.Fields() {
			keys = append(keys, section.Tag.Get("json")+"."+leaf.Tag.Get("json"))
		}
	}
	files := 0
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.ImportPath, module)
		room, _, _ := strings.Cut(path, "/")
		if room == "tools" || room == "bench" || path == "ssl/config" || path == "ssl/run" {
			continue
		}
		for _, name := range slices.Concat(p.GoFiles, p.IgnoredGoFiles) {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files++
			ast.Inspect(f, func(n ast.Node) bool {
				if s, ok := n.(*ast.BasicLit); ok && s.Kind == token.STRING {
					for _, key := range keys {
						if strings.Contains(s.Value, key) {
							t.Errorf("%s/%s names %s: return a typed cause, and let ssl/run name the key", path, name, key)
						}
					}
				}
				return true
			})
		}
	}
	if files < 100 {
		t.Fatalf("only %d files were read", files)
	}
}
