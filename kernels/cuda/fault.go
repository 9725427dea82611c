package cuda

import (
	"errors"
	"fmt"
	"sort"
	"strings"
)

// SyncEach makes the device finish every kernel before the next is asked for, so that a fault names its kernel. It is
// slow.
func (b *Backend) SyncEach() { b.blocking = true }

// launchError says which kernel could not be launched. A fault may be that of an earlier one, unless every kernel
// was waited for.
func (b *Backend) launchError(l *Launch, err error) error {
	if errors.Is(err, ErrFault) && !b.blocking {
		return err
	}
	return fmt.Errorf("cuda: kernel %s, grid %v, block %v: %w", l.Name, l.Grid, l.Block, err)
}

// fail keeps the first fault.
func (b *Backend) fail(err error) {
	if b.fault != nil || err == nil {
		return
	}
	if errors.Is(err, ErrFault) && !b.blocking {
		err = fmt.Errorf("%s: %w; since the device was last heard of it was asked for %s; DMX_CUDA_SYNC=1 waits for every kernel and names the one that fails",
			b.alloc.device, err, &b.recent)
	}
	b.fault = err
}

// recent counts the kernels that were asked for since the device was last known to be well.
type recent struct{ count map[string]int }

func (r *recent) add(name string) {
	if r.count == nil {
		r.count = map[string]int{}
	}
	r.count[name]++
}

func (r *recent) reset() { clear(r.count) }

// String lists the kernels by name.
func (r *recent) String() string {
	names := make([]string, 0, len(r.count))
	for n := range r.count {
		names = append(names, n)
	}
	if len(names) == 0 {
		return "no kernel"
	}
	sort.Strings(names)
	for i, n := range names {
		names[i] = fmt.Sprintf("%s (%d)", n, r.count[n])
	}
	return strings.Join(names, ", ")
}
