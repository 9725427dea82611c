package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// maxDepth bounds the folders below folders.
const maxDepth = 64

// listing is the files below a folder.
type listing struct {
	root    string
	images  []string // slash paths below root
	skipped []Skipped
}

func (l *listing) skip(name, reason string) {
	l.skipped = append(l.skipped, Skipped{printable(name), reason})
}

// listImages lists the pictures below a folder by their names, in sorted order.
func listImages(root string) (*listing, error) {
	info, err := os.Stat(root)
	if err != nil {
		return nil, err
	}
	l := &listing{root: root}
	if err := l.walk("", []os.FileInfo{info}); err != nil {
		return nil, err
	}
	slices.Sort(l.images)
	return l, nil
}

// walk lists the folder below. above are the folders on the way to it, and itself.
func (l *listing) walk(below string, above []os.FileInfo) error {
	if len(above) > maxDepth {
		return fmt.Errorf("%s: folders are nested deeper than %d", filepath.Join(l.root, below), maxDepth)
	}
	entries, err := os.ReadDir(filepath.Join(l.root, below))
	if err != nil {
		return err
	}
	before := len(l.images)
	for _, e := range entries {
		name := path.Join(below, e.Name())
		kind, reason, err := resolve(filepath.Join(l.root, name), e)
		if err != nil {
			return err
		}
		isHidden := strings.HasPrefix(e.Name(), ".")
		switch {
		case isHidden:
			if kind.IsDir() || pictureName(name) {
				l.skip(name, hidden)
			}
		case reason != "":
			l.skip(name, reason)
		case kind.IsDir():
			info, err := os.Stat(filepath.Join(l.root, name))
			if err != nil {
				return err
			}
			if within(info, above) {
				l.skip(name, linkUp)
				continue
			}
			if err := l.walk(name, append(above[:len(above):len(above)], info)); err != nil {
				return err
			}
		case pictureName(name):
			l.images = append(l.images, name)
		default:
			l.skip(name, notPicture)
		}
	}
	if len(l.images) == before && below != "" {
		l.skip(below, emptyFolder)
	}
	return nil
}

// resolve returns what an entry of a folder is behind links, and why it is left out if it is neither a folder nor a
// file.
func resolve(name string, e fs.DirEntry) (kind fs.FileMode, reason string, err error) {
	kind = e.Type()
	if kind&fs.ModeSymlink != 0 {
		info, err := os.Stat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
			return 0, danglingLink, nil
		case errors.Is(err, syscall.ELOOP):
			return 0, selfLink, nil
		case err != nil:
			return 0, "", err
		}
		kind = info.Mode().Type()
	}
	if !kind.IsDir() && !kind.IsRegular() {
		return kind, specialFile, nil
	}
	return kind, "", nil
}

func within(info os.FileInfo, above []os.FileInfo) bool {
	for _, a := range above {
		if os.SameFile(a, info) {
			return true
		}
	}
	return false
}

// pictureNames lists the ends of the names of pictures, for messages.
const pictureNames = ".png, .jpg, .jpeg, .gif, .bmp, .tif, .tiff or .webp"

// pictureName tells whether a file's name ends as that of a picture.
func pictureName(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp":
		return true
	}
	return false
}

// imageName tells whether a file is listed as a picture.
func imageName(name string) bool {
	return pictureName(name) && !strings.HasPrefix(path.Base(name), ".")
}
