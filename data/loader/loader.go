// Package loader turns a source and a transform into batches of views: a bounded pipeline of workers whose batches
// come in an order that depends on nothing but the seed.
package loader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"sort"
	"sync"
	"time"

	"github.com/dino-mx/dmx/tensor"
)

// Loader yields batches in an order that depends on the seed, the source's length and the batch size alone: not on
// workers, and on ranks only by which share each takes. One goroutine may use it at a time; Release may be called
// from any.
type Loader struct {
	cfg    Config
	steps  int // per epoch
	next   int // step of the next batch
	free   chan *slot
	pipe   *pipeline
	head   *slot // taken from the pipeline, not yet returned because a context ended
	bad    map[int]Unreadable
	failed error

	mu     sync.Mutex
	closed bool
}

// New checks the configuration and allocates the batches. Workers start with the first Next; Close stops them.
func New(cfg Config) (*Loader, error) {
	if cfg.Ranks == 0 {
		cfg.Ranks = 1
	}
	if cfg.Workers <= 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	if cfg.Prefetch <= 0 {
		cfg.Prefetch = 2
	}
	if cfg.Memory == nil {
		cfg.Memory = tensor.Host
	}
	n := cfg.Source.Len()
	switch {
	case cfg.BatchSize < 1:
		return nil, fmt.Errorf("data loader: batch size %d; expected at least 1", cfg.BatchSize)
	case cfg.Rank < 0 || cfg.Rank >= cfg.Ranks:
		return nil, fmt.Errorf("data loader: rank %d of %d", cfg.Rank, cfg.Ranks)
	case cfg.KeepLast && cfg.Ranks > 1:
		return nil, errors.New("data loader: a short last batch is for one rank only")
	case n < 1:
		return nil, errors.New("data loader: the source has no samples")
	case n > math.MaxUint32:
		return nil, fmt.Errorf("data loader: %d samples; at most %d can be numbered", n, uint32(math.MaxUint32))
	case cfg.Source.Channels() != cfg.Transform.Channels():
		return nil, fmt.Errorf("data loader: the images have %d channels, the transform expects %d",
			cfg.Source.Channels(), cfg.Transform.Channels())
	}
	l := &Loader{cfg: cfg, bad: map[int]Unreadable{}}
	global := cfg.BatchSize * cfg.Ranks
	l.steps = n / global
	if cfg.KeepLast {
		l.steps = (n + global - 1) / global
	}
	if l.steps == 0 {
		return nil, fmt.Errorf("data loader: %d samples do not fill one batch of %d; use a smaller batch or more images",
			n, global)
	}
	slots := cfg.Prefetch + 1
	l.free = make(chan *slot, slots)
	for range slots {
		s, err := newSlot(cfg, l.takeBack)
		if err != nil {
			l.Close()
			return nil, err
		}
		l.free <- s
	}
	return l, nil
}

// StepsPerEpoch is the number of batches of one epoch.
func (l *Loader) StepsPerEpoch() int { return l.steps }

// Seek makes the next batch that of the given step, counted from 0 over all epochs. The batch has the same bits as
// if every earlier one had been made.
func (l *Loader) Seek(step int) error {
	if step < 0 {
		return fmt.Errorf("data loader: seek to step %d", step)
	}
	l.stop()
	l.next = step
	return nil
}

// Next returns the next batch, waiting for the workers if it is not ready. It returns io.EOF after the last
// epoch, the context's error if that ends first, and an error that lists paths when too many samples are unreadable.
func (l *Loader) Next(ctx context.Context) (*Batch, error) {
	if l.failed != nil {
		return nil, l.failed
	}
	if l.closed {
		return nil, errors.New("data loader: closed")
	}
	if l.cfg.Epochs > 0 && l.next >= l.cfg.Epochs*l.steps {
		return nil, io.EOF
	}
	if l.pipe == nil {
		l.pipe = startPipeline(l.cfg, l.steps, l.next, l.free)
	}
	start := time.Now()
	if l.head == nil {
		select {
		case l.head = <-l.pipe.queue:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	select {
	case <-l.head.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s := l.head
	l.head = nil
	if err := l.check(s); err != nil {
		l.free <- s
		l.stop()
		l.failed = err
		return nil, err
	}
	l.next++
	b := s.batch(l.cfg)
	b.Wait = time.Since(start)
	return b, nil
}

// check counts the unreadable samples of a batch. It runs in the order of steps, so that the error comes at the same
// step however the workers were scheduled.
func (l *Loader) check(s *slot) error {
	for b := range s.results {
		r := &s.results[b]
		if r.err != nil {
			return r.err
		}
		for _, u := range r.bad {
			l.bad[u.Index] = u
		}
	}
	n := l.cfg.Source.Len()
	if len(l.bad) == 0 || float64(len(l.bad)) <= l.cfg.MaxUnreadableShare*float64(n) && len(l.bad) < n {
		return nil
	}
	return &UnreadableError{Samples: l.Unreadable(), Of: n, MaxShare: l.cfg.MaxUnreadableShare}
}

// Unreadable lists the samples found unreadable in the batches returned so far, by index.
func (l *Loader) Unreadable() []Unreadable {
	list := make([]Unreadable, 0, len(l.bad))
	for _, u := range l.bad {
		list = append(list, u)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Index < list[j].Index })
	return list
}

// stop ends the workers and takes back the batches they were making.
func (l *Loader) stop() {
	if l.pipe == nil {
		return
	}
	l.pipe.stop()
	if l.head != nil {
		l.free <- l.head
		l.head = nil
	}
	for {
		select {
		case s := <-l.pipe.queue:
			l.free <- s
			continue
		default:
		}
		break
	}
	l.pipe = nil
}

// Close stops the workers and frees the memory. A batch that was not released stays valid until it is.
func (l *Loader) Close() {
	l.stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for {
		select {
		case s := <-l.free:
			s.close()
			continue
		default:
		}
		return
	}
}

// takeBack is called when the owner of a batch releases it.
func (l *Loader) takeBack(s *slot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		s.close()
		return
	}
	l.free <- s
}
