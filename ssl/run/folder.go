package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

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
//	skipped.csv          images that could not be read, if there are any
//	.lock                held while a process writes here
type Folder struct {
	Path   string
	layout config.Output
	lock   *os.File
	made   []string // folders that this process has made, the outermost first
	fresh  bool     // this process has stored the configuration
}

// FolderOf returns the path of the run folder of a configuration.
func FolderOf(c *config.Config) string { return filepath.Join(c.Output.MainOutput, c.Train.ModelName) }

// Holds reports whether the folder at path holds a run, which is whether a configuration was stored there.
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
		if err := f.makeFolder(dir); err != nil {
			f.discard()
			return nil, fmt.Errorf("run folder: %w; give --output a folder that can be written", err)
		}
	}
	lock, err := durable.Lock(filepath.Join(f.Path, ".lock"))
	if err != nil {
		f.discard()
	}
	if locked := (*durable.LockedError)(nil); errors.As(err, &locked) {
		return nil, fmt.Errorf("run folder %s: %w, or give another --output", f.Path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("run folder %s: %w", f.Path, err)
	}
	f.lock = lock
	stored, err := Holds(f.Path)
	if err == nil && !stored {
		f.fresh = true
		err = durable.WriteBytes(f.file("config.yaml"), c.YAML(true))
	}
	if err != nil {
		f.discard()
		f.Close()
		return nil, err
	}
	return f, nil
}

// Close releases the lock.
func (f *Folder) Close() error { return f.lock.Close() }

// makeFolder makes a folder with those that it lies in, and remembers which were not there.
func (f *Folder) makeFolder(path string) error {
	var missing []string
	for p := filepath.Clean(path); ; p = filepath.Dir(p) {
		if _, err := os.Lstat(p); err == nil || filepath.Dir(p) == p {
			break
		}
		missing = append(missing, p)
	}
	slices.Reverse(missing)
	f.made = append(f.made, missing...)
	return os.MkdirAll(path, 0o777)
}

// discard removes what this process has made of a run that trained nothing, so that it is not in the way of the next
// attempt. The files of others stay, and with them their folders.
func (f *Folder) discard() {
	if f.fresh {
		for _, name := range []string{"config.yaml", "metrics.jsonl", "summary.json", "skipped.csv"} {
			os.Remove(f.file(name))
		}
		os.Remove(filepath.Join(f.logs(), logName))
		os.Remove(f.file(".lock"))
	}
	for _, dir := range slices.Backward(f.made) {
		os.Remove(dir) // fails where something is left in it
	}
}

func (f *Folder) skipped() string         { return f.file("skipped.csv") }
func (f *Folder) file(name string) string { return filepath.Join(f.Path, name) }
func (f *Folder) train() string           { return f.file(f.layout.TrainCheckpointDir) }
func (f *Folder) teacher() string         { return f.file(f.layout.TeacherCheckpointDir) }
func (f *Folder) logs() string            { return f.file(f.layout.LogDir) }
