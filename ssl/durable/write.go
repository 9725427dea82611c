package durable

import (
	"io"
	"os"
	"path/filepath"
)

// Write replaces the file at path by what write writes. A reader sees the old content or the new, also after a crash:
// the content goes to path.tmp first, which is synced and renamed. When write fails path is as it was. The caller keeps
// two writers of one path apart.
func Write(path string, write func(w io.Writer) error) (err error) {
	name := path + ".tmp"
	tmp, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			tmp.Close()
			os.Remove(name)
		}
	}()
	if err = write(tmp); err != nil {
		return err
	}
	if err = tmp.Sync(); err != nil {
		return err
	}
	if err = tmp.Close(); err != nil {
		return err
	}
	if err = os.Rename(name, path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// WriteBytes is Write of a content that is in memory.
func WriteBytes(path string, content []byte) error {
	return Write(path, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// SyncDir puts the entries of a folder on the disk. Some file systems refuse to sync a folder; its entries are then as
// safe as they get, and the error is nil.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	_ = d.Sync()
	return d.Close()
}
