package source

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Path is a path with what lies directly in it.
type Path struct {
	Name    string
	Folder  bool
	Files   []string // without hidden ones
	Folders []string // without hidden ones

	listed *listing // of the pictures below the folder, once asked for
}

// expected is what a path of data may be.
const expected = "a folder of images, an IDX folder, an .npz or .tar file, or embedded:fashion-mnist"

// look lists a path.
func look(name string) (*Path, error) {
	if Embedded(name) {
		return &Path{Name: name}, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("%w; expected %s", err, expected)
	}
	p := &Path{Name: name, Folder: info.IsDir()}
	if !p.Folder {
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s: a %s is no data; expected %s", name, specialFile, expected)
		}
		return p, nil
	}
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		kind, reason, err := resolve(filepath.Join(name, e.Name()), e)
		switch {
		case err != nil:
			return nil, err
		case reason != "" || strings.HasPrefix(e.Name(), "."):
		case kind.IsDir():
			p.Folders = append(p.Folders, e.Name())
		default:
			p.Files = append(p.Files, e.Name())
		}
	}
	return p, nil
}

// images lists the pictures below the folder.
func (p *Path) images() (*listing, error) {
	if p.listed == nil {
		l, err := listImages(p.Name)
		if err != nil {
			return nil, err
		}
		p.listed = l
	}
	return p.listed, nil
}

// Embedded tells whether a path is that of a data set in the program, which no folder holds.
func Embedded(path string) bool { return strings.HasPrefix(path, "embedded:") }
