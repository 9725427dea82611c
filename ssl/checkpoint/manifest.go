package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dino-mx/dmx/ssl/durable"
)

const manifestName = "manifest.json"

// manifest is manifest.json: every file of the checkpoint with its size and sum.
type manifest struct {
	Format int    `json:"format"`
	Step   int    `json:"step"`
	Files  []file `json:"files"` // by name
}

type file struct {
	Name   string `json:"name"` // relative, with forward slashes
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

const format = 1

// seal writes the manifest of dir and puts everything on the disk.
func seal(dir string, step int) error {
	m := manifest{Format: format, Step: step}
	var folders []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			folders = append(folders, path)
			return nil
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		sum, size, err := hash(path, true)
		m.Files = append(m.Files, file{filepath.ToSlash(name), size, sum})
		return err
	})
	if err != nil {
		return err
	}
	if len(m.Files) == 0 {
		return errors.New("nothing was written into it")
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.WriteBytes(filepath.Join(dir, manifestName), append(text, '\n')); err != nil {
		return err
	}
	for _, d := range folders {
		if err := durable.SyncDir(d); err != nil {
			return err
		}
	}
	return nil
}

// Verify checks that the checkpoint at dir is complete and that every byte is as it was written.
func Verify(dir string) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("checkpoint %s: %s", dir, fmt.Sprintf(format, args...))
	}
	text, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		return bad("not complete: %v", err)
	}
	var m manifest
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return bad("%s cannot be read: %v", manifestName, err)
	}
	if m.Format != format {
		return bad("%s has format %d; this program reads %d", manifestName, m.Format, format)
	}
	if n, ok := stepOf(filepath.Base(filepath.Clean(dir))); ok && n != m.Step {
		return bad("%s is of step %d", manifestName, m.Step)
	}
	if len(m.Files) == 0 {
		return bad("%s names no file", manifestName)
	}
	for _, f := range m.Files {
		if !filepath.IsLocal(filepath.FromSlash(f.Name)) {
			return bad("%s names %q, which lies outside", manifestName, f.Name)
		}
		sum, size, err := hash(filepath.Join(dir, filepath.FromSlash(f.Name)), false)
		switch {
		case err != nil:
			return bad("%v", err)
		case size != f.Size:
			return bad("%s has %d bytes instead of %d", f.Name, size, f.Size)
		case sum != f.SHA256:
			return bad("%s was changed or damaged after it was written (SHA-256 %.12s…, expected %.12s…)", f.Name, sum, f.SHA256)
		}
	}
	return nil
}

// VerifyModel checks a model that a run has saved, given by its folder or by a file in it, against the manifest beside
// it. A model without a manifest of this program is accepted, because other programs write none.
func VerifyModel(path string) error {
	dir := path
	if st, err := os.Stat(path); err == nil && !st.IsDir() {
		dir = filepath.Dir(path)
	}
	text, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		return nil
	}
	var m manifest
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if _, ours := stepOf(filepath.Base(filepath.Clean(dir))); d.Decode(&m) != nil && !ours {
		return nil // another program's manifest.json
	}
	return Verify(dir)
}

// hash returns the SHA-256 sum and the size of a file; with sync it also syncs the file to the disk.
func hash(path string, sync bool) (sum string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	if size, err = io.Copy(h, f); err != nil {
		return "", 0, err
	}
	if sync {
		err = f.Sync()
	}
	return hex.EncodeToString(h.Sum(nil)), size, err
}
