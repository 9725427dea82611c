package checkpoint

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dino-mx/dmx/ssl/durable"
)

// Folder holds the checkpoints of a run. One process writes to it at a time.
type Folder struct {
	Path string
	// Keep is how many of the newest checkpoints stay; 0 keeps all.
	Keep int
	// KeepEvery keeps those whose step is a multiple of it for good; 0 is off.
	KeepEvery int
}

const (
	prefix    = "iter_"
	temporary = ".tmp_"
	replaced  = ".old_"
)

// Checkpoint is one checkpoint that was verified.
type Checkpoint struct {
	Step int
	Path string
}

// Save makes iter_<step>. write puts the files into the folder it is given; nothing of them is seen under the final
// name before all are complete and on the disk. A whole checkpoint of the same step is left as it is: the same run
// would write the same bits. Older checkpoints that need not stay are removed afterwards.
func (f Folder) Save(step int, write func(dir string) error) (path string, err error) {
	path = f.dir(step)
	defer func() {
		if err != nil {
			err = fmt.Errorf("save checkpoint %s: %w", path, err)
		}
	}()
	if step < 0 {
		return path, fmt.Errorf("step %d; it must be 0 or more", step)
	}
	if err := os.MkdirAll(f.Path, 0o777); err != nil {
		return path, err
	}
	if err := f.sweep(); err != nil {
		return path, err
	}
	if Verify(path) == nil {
		return path, f.prune()
	}
	tmp := filepath.Join(f.Path, temporary+prefix+strconv.Itoa(step))
	if err := os.Mkdir(tmp, 0o777); err != nil {
		return path, err
	}
	defer os.RemoveAll(tmp) // gone already when all went well
	if err := write(tmp); err != nil {
		return path, err
	}
	if err := seal(tmp, step); err != nil {
		return path, err
	}
	if err := f.publish(tmp, step); err != nil {
		return path, err
	}
	return path, f.prune()
}

// publish renames a sealed folder to its final name. A damaged folder of that name is moved aside first.
func (f Folder) publish(tmp string, step int) error {
	path := f.dir(step)
	old := filepath.Join(f.Path, replaced+prefix+strconv.Itoa(step))
	err := os.Rename(path, old)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	if err := durable.SyncDir(f.Path); err != nil {
		return err
	}
	return os.RemoveAll(old)
}

// Steps lists the steps of all checkpoints, ascending, whole or not. A folder that does not exist has none.
func (f Folder) Steps() ([]int, error) {
	entries, err := os.ReadDir(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoints: %w", err)
	}
	var steps []int
	for _, e := range entries {
		if n, ok := stepOf(e.Name()); ok && e.IsDir() {
			steps = append(steps, n)
		}
	}
	slices.Sort(steps)
	return steps, nil
}

// Newest finds the newest checkpoint that is whole. damaged has one error for each newer one that is not, naming
// what is wrong with it. found is nil when there is no whole one; that is an error only if there are damaged ones, since
// training must then not silently start anew.
func (f Folder) Newest() (found *Checkpoint, damaged []error, err error) {
	steps, err := f.Steps()
	if err != nil {
		return nil, nil, err
	}
	slices.SortFunc(steps, func(a, b int) int { return cmp.Compare(b, a) })
	for _, n := range steps {
		if err := Verify(f.dir(n)); err != nil {
			damaged = append(damaged, err)
			continue
		}
		return &Checkpoint{Step: n, Path: f.dir(n)}, damaged, nil
	}
	if len(damaged) > 0 {
		return nil, damaged, fmt.Errorf("checkpoints: none of the %d in %s is whole; move them away to start from step 0: %w",
			len(damaged), f.Path, errors.Join(damaged...))
	}
	return nil, nil, nil
}

// Open verifies the checkpoint at path, which a user has named.
func Open(path string) (*Checkpoint, error) {
	n, ok := stepOf(filepath.Base(filepath.Clean(path)))
	if !ok {
		return nil, fmt.Errorf("checkpoint %s: the name of a checkpoint folder is iter_ and the number of steps", path)
	}
	if err := Verify(path); err != nil {
		return nil, err
	}
	return &Checkpoint{Step: n, Path: path}, nil
}

func (f Folder) dir(step int) string { return filepath.Join(f.Path, prefix+strconv.Itoa(step)) }

// stepOf reads the number of iter_N; a number that Itoa would not write is another's folder.
func stepOf(name string) (int, bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n >= 0 && strconv.Itoa(n) == digits
}

// sweep removes what a killed process has left half-written. A damaged checkpoint that was set aside is dropped too:
// its successor was complete before that happened, or is written now.
func (f Folder) sweep() error {
	entries, err := os.ReadDir(f.Path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), temporary+prefix) || strings.HasPrefix(e.Name(), replaced+prefix) {
			if err := os.RemoveAll(filepath.Join(f.Path, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// prune removes all but the newest Keep checkpoints and the multiples of KeepEvery.
func (f Folder) prune() error {
	if f.Keep < 1 {
		return nil
	}
	steps, err := f.Steps()
	if err != nil {
		return err
	}
	for _, n := range steps[:max(0, len(steps)-f.Keep)] {
		if f.KeepEvery > 0 && n%f.KeepEvery == 0 {
			continue
		}
		// Removing the manifest first makes a half-removed folder one that no longer counts as whole.
		if err := os.Remove(filepath.Join(f.dir(n), manifestName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.RemoveAll(f.dir(n)); err != nil {
			return err
		}
	}
	return nil
}
