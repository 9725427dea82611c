package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dino-mx/dmx/ssl/config"
	"github.com/dino-mx/dmx/ssl/durable"
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
	lock, err := durable.Lock(filepath.Join(f.Path, ".lock"))
	if locked := (*durable.LockedError)(nil); errors.As(err, &locked) {
		return nil, fmt.Errorf("run folder %s: %w, or give another --output", f.Path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("run folder %s: %w", f.Path, err)
	}
	f.lock = lock
	stored, err := Holds(f.Path)
	if err == nil && !stored {
		err = durable.WriteBytes(f.file("config.yaml"), c.YAML(true))
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
