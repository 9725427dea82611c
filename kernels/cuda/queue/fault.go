package queue

import (
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/dino-mx/dmx/kernels/cuda/gpu"
)

// SyncEach makes the queue wait for every kernel before it submits the next, so that a fault names its kernel. It is
// slow.
func (q *Queue) SyncEach() { q.blocking = true }

// launchError says which kernel could not be launched. A fault may be that of an earlier one, unless every kernel
// was waited for.
func (q *Queue) launchError(l *gpu.Launch, err error) error {
	if errors.Is(err, gpu.ErrFault) && !q.blocking {
		return err
	}
	return fmt.Errorf("cuda: kernel %s, grid %v, block %v: %w", l.Name, l.Grid, l.Block, err)
}

// Fail records a fault unless there is one already; nil is none.
func (q *Queue) Fail(err error) {
	if q.fault != nil || err == nil {
		return
	}
	if errors.Is(err, gpu.ErrFault) && !q.blocking {
		err = fmt.Errorf("%s: %w; since the device was last heard of it was asked for %s; DMX_CUDA_SYNC=1 waits for every kernel and names the one that fails",
			q.device, err, &q.recent)
	}
	q.fault = err
}

// recent counts the kernels submitted since the device was last known to be well.
type recent struct{ count map[string]int }

// Failed reports whether the queue holds a fault, and therefore submits nothing.
func (q *Queue) Failed() bool { return q.fault != nil }

// do calls the driver unless there was a fault, and keeps its error.
func (q *Queue) do(call func() error) {
	if q.fault == nil {
		q.Fail(call())
	}
}

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
