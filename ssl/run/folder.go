package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dino-mx/dmx/ssl/config"
)

// Folder is the run folder:
//
//	config.yaml          the resolved configuration of the first start
//	metrics.jsonl        one object a step
//	summary.json         accuracies and totals
//	log_files/           main_rank0.log
//	train_checkpoints/   iter_N: training state after N steps
//	teacher_checkpoints/ iter_N: teacher backbone in Hugging Face form
//	.lock                held while a process writes here
type Folder struct {
	Path   string
	layout config.Output
	lock   *os.File
}

// FolderOf is where a configuration's run lies.
func FolderOf(c *config.Config) string { return filepath.Join(c.Output.MainOutput, c.Train.ModelName) }

// Holds tells whether the folder at path holds a run: whether a configuration was stored there.
func Holds(path string) (bool, error) {
	_, err := os.Stat(filepath.Join(path, "config.yaml"))
	if err == nil {
		return true, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return false, fmt.Errorf("run folder: %w; give --output a folder that can be read and written", err)
}

// Stored reads the configuration that the run at path was started with.
func Stored(path string) (*config.Config, error) {
	return config.Load(filepath.Join(path, "config.yaml"))
}

// open locks the run folder, making it if need be, and stores the configuration if it is the first there.
func open(c *config.Config) (*Folder, error) {
	f := &Folder{Path: FolderOf(c), layout: c.Output}
	for _, dir := range []string{f.Path, f.train(), f.teacher(), f.logs()} {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return nil, fmt.Errorf("run folder: %w; give --output a folder that can be written", err)
		}
	}
	lock, err := lockFile(filepath.Join(f.Path, ".lock"))
	if err != nil {
		return nil, fmt.Errorf("run folder %s: %w", f.Path, err)
	}
	f.lock = lock
	stored, err := Holds(f.Path)
	if err == nil && !stored {
		err = writeFile(f.file("config.yaml"), c.YAML(true))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Close gives the lock back.
func (f *Folder) Close() error { return f.lock.Close() }

func (f *Folder) file(name string) string { return filepath.Join(f.Path, name) }
func (f *Folder) train() string           { return f.file(f.layout.TrainCheckpointDir) }
func (f *Folder) teacher() string         { return f.file(f.layout.TeacherCheckpointDir) }
func (f *Folder) logs() string            { return f.file(f.layout.LogDir) }

// writeFile replaces a file in one step: a reader sees the old content or the new, also after a crash. The
// run's lock keeps two writers apart.
func writeFile(path string, data []byte) (err error) {
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
	if _, err = tmp.Write(data); err != nil {
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
	return syncDir(filepath.Dir(path))
}
