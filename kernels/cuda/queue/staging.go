package queue

import (
	"errors"

	"github.com/dino-mx/dmx/kernels/cuda/gpu"
)

const (
	stagingTurns = 4       // uploads of so many pieces of work may be on their way
	stagingChunk = 1 << 20 // bytes pinned at a time
	stagingMost  = 4 << 20 // larger uploads go straight to the device, which waits
)

// staging is pinned memory in which small uploads wait for the device, so that the host does not: index tables and
// weights of a step. Each piece of work that is handed to the device has its own region; a region comes round again
// when the device has passed the work that reads it. This also keeps the host from running further ahead.
type staging struct {
	d       gpu.Driver
	regions [stagingTurns]stagingRegion
	at      int
}

type stagingRegion struct {
	chunks [][]byte
	chunk  int // being filled
	used   int // bytes of it
	passed gpu.Event
	busy   bool // passed is to be waited for before the first use
}

// put copies data into the region of this turn and returns the copy.
func (s *staging) put(data []byte) ([]byte, error) {
	r := &s.regions[s.at]
	if r.busy {
		if err := r.passed.Wait(); err != nil {
			return nil, err
		}
		r.busy = false
	}
	for r.chunk < len(r.chunks) && r.used+len(data) > len(r.chunks[r.chunk]) {
		r.chunk, r.used = r.chunk+1, 0
	}
	if r.chunk == len(r.chunks) {
		c, err := s.d.Pin(max(stagingChunk, len(data)))
		if err != nil {
			return nil, err
		}
		r.chunks = append(r.chunks, c)
	}
	p := r.chunks[r.chunk][r.used : r.used+len(data) : r.used+len(data)]
	copy(p, data)
	r.used += (len(data) + 63) &^ 63
	return p, nil
}

// turn goes on to the next region. The work that reads this one has been handed to the device, or never will be.
func (s *staging) turn() error {
	r := &s.regions[s.at]
	r.chunk, r.used = 0, 0
	s.at = (s.at + 1) % stagingTurns
	if r.passed == nil {
		e, err := s.d.NewEvent()
		if err != nil {
			return err
		}
		r.passed = e
	}
	r.busy = true
	return r.passed.Record(gpu.Compute)
}

func (s *staging) close() error {
	var errs []error
	for i := range s.regions {
		for _, c := range s.regions[i].chunks {
			errs = append(errs, s.d.Unpin(c))
		}
		s.regions[i] = stagingRegion{}
	}
	return errors.Join(errs...)
}
