package loader

import (
	"fmt"
	"sync"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/tensor"
)

// task is one sample of a batch.
type task struct {
	s *slot
	b int
}

// pipeline is a producer that plans batches in order and workers that make their samples in any order.
type pipeline struct {
	cfg   Config
	queue chan *slot // planned batches, in order
	tasks chan task
	quit  chan struct{}
	wg    sync.WaitGroup
	// known are samples found unreadable, so that they are not tried again. It never changes what a batch holds.
	known sync.Map
}

func startPipeline(cfg Config, steps, first int, free chan *slot) *pipeline {
	p := &pipeline{
		cfg:   cfg,
		queue: make(chan *slot, cap(free)),
		tasks: make(chan task, cfg.BatchSize),
		quit:  make(chan struct{}),
	}
	p.wg.Go(func() { p.plan(steps, first, free) })
	for range cfg.Workers {
		p.wg.Go(p.work)
	}
	return p
}

func (p *pipeline) stop() {
	close(p.quit)
	p.wg.Wait()
}

// purposeOrder is the word that keeps the streams of epoch orders away from those of views.
const purposeOrder = 1<<24 + 0x0da7a

// order is the permutation of an epoch.
func order(cfg Config, epoch int) []int {
	n := cfg.Source.Len()
	if cfg.Shuffle {
		return tensor.NewRand(cfg.Seed, uint32(epoch), 0, purposeOrder).Perm(n)
	}
	p := make([]int, n)
	for i := range p {
		p[i] = i
	}
	return p
}

func (p *pipeline) plan(steps, first int, free chan *slot) {
	var perm []int
	at := -1
	for step := first; ; step++ {
		epoch := step / steps
		if p.cfg.Epochs > 0 && epoch >= p.cfg.Epochs {
			return
		}
		if epoch != at {
			perm, at = order(p.cfg, epoch), epoch
		}
		var s *slot
		select {
		case s = <-free:
		case <-p.quit:
			return
		}
		select {
		case <-s.ready: // left over from a batch that was not taken
		default:
		}
		from := step%steps*p.cfg.BatchSize*p.cfg.Ranks + p.cfg.Rank*p.cfg.BatchSize
		s.step, s.epoch = step, epoch
		s.size = min(p.cfg.BatchSize, len(perm)-from)
		copy(s.indices, perm[from:from+s.size])
		s.left.Store(int32(s.size))
		for b := range s.results {
			s.results[b] = result{}
		}
		p.queue <- s // has room for every slot
		for b := range s.size {
			select {
			case p.tasks <- task{s, b}:
			case <-p.quit:
				return
			}
		}
	}
}

func (p *pipeline) work() {
	var s data.Sample
	out := make([][]float32, data.Views(p.cfg.Transform.Views()))
	for {
		select {
		case <-p.quit:
			return
		default:
		}
		select {
		case <-p.quit:
			return
		case t := <-p.tasks:
			p.sample(t, &s, out)
			if t.s.left.Add(-1) == 0 {
				t.s.ready <- struct{}{}
			}
		}
	}
}

// sample decodes one sample, or the next readable one, and cuts its views. The draws are those of the sample that was
// wanted, so that a replacement does not repeat the views it has in its own place.
func (p *pipeline) sample(t task, s *data.Sample, out [][]float32) {
	src, r := p.cfg.Source, &t.s.results[t.b]
	want := t.s.indices[t.b]
	n := src.Len()
	for k := range n {
		i := (want + k) % n
		err := error(nil)
		if known, ok := p.known.Load(i); ok {
			err = known.(error)
		} else {
			err = src.Decode(i, s)
		}
		if err != nil {
			p.known.Store(i, err)
			r.bad = append(r.bad, Unreadable{Index: i, ID: src.ID(i), Err: err})
			continue
		}
		t.s.outputs(t.b, out)
		key := data.Key{Seed: p.cfg.Seed, Epoch: uint32(t.s.epoch), Sample: uint32(want)}
		if err := p.cfg.Transform.Apply(s, key, out); err != nil {
			r.err = fmt.Errorf("%s: %w", src.ID(i), err)
			return
		}
		t.s.indices[t.b], t.s.labels[t.b] = i, -1
		if label, ok := src.Label(i); ok {
			t.s.labels[t.b] = int32(label)
		}
		return
	}
}
