package queue_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/kernels/cuda/drivertest"
	"github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/kernels/cuda/queue"
	"github.com/dino-mx/dmx/tensor"
)

const layers = 4

// parallelStep is a training step whose gradients are summed with another device layer by layer, while the gradients of
// the next layer are computed. Device memory holds a gradient for each layer and one weight.
type parallelStep struct {
	q       *queue.Queue
	count   *drivertest.Counter
	late    *drivertest.Late
	memory  []byte // gradients of the layers, then the weight
	at      uint64
	ordered bool     // the update waits for the collectives
	log     []string // what ran in which order, in one step
}

func newParallelStep(t *testing.T, seed uint64, ordered bool) *parallelStep {
	t.Helper()
	h := drivertest.NewHost(1 << 12)
	s := &parallelStep{ordered: ordered}
	h.Kernels["gradient"] = func(_ *drivertest.Host, l *gpu.Launch) error {
		s.memory[l.Args[0]] += l.Args[1]
		s.log = append(s.log, fmt.Sprintf("gradient %d", l.Args[0]))
		return nil
	}
	h.Kernels["update"] = func(*drivertest.Host, *gpu.Launch) error {
		for i := range layers {
			s.memory[layers] += s.memory[i]
			s.memory[i] = 0
		}
		return nil
	}
	var err error
	if s.at, err = h.Alloc(layers + 1); err != nil {
		t.Fatal(err)
	}
	if s.memory, err = h.Bytes(s.at, layers+1); err != nil {
		t.Fatal(err)
	}
	s.late = drivertest.NewLate(h, seed)
	s.count = &drivertest.Counter{Driver: s.late}
	s.q = queue.New(s.count, tensor.Device{Kind: tensor.CUDA})
	return s
}

// sum is the stand-in for a collective: the other device has the same gradients.
func (s *parallelStep) sum(layer int) queue.Ticket {
	return s.q.Beside(gpu.Communicate, func() error {
		s.late.Enqueue(gpu.Communicate, func() error {
			s.memory[layer] *= 2
			s.log = append(s.log, fmt.Sprintf("sum %d", layer))
			return nil
		})
		return nil
	})
}

// run makes a step and returns the weight.
func (s *parallelStep) run(t *testing.T, rate byte) byte {
	t.Helper()
	s.log = s.log[:0]
	s.q.Submit(func() {
		var last queue.Ticket
		for layer := range layers {
			for range 16 {
				l := launch("gradient", 0)
				l.Launch.Args = []byte{byte(layer), rate}
				s.q.Add(l)
			}
			last = s.sum(layer)
		}
		if s.ordered {
			s.q.OrderAfter(last) // a stream does its work in order: one ticket stands for all
		}
		s.q.Add(launch("update", 0))
	})
	if err := s.q.Sync(); err != nil {
		t.Fatal(err)
	}
	return s.memory[layers]
}

// A collective ends a segment and runs beside the next one. Each segment is a graph of its own from its second time on,
// and the results are those of a device that does one thing after another.
func TestSegments(t *testing.T) {
	overlapped := 0
	for seed := range uint64(16) {
		s := newParallelStep(t, seed, true)
		want := byte(0)
		for i := range byte(4) {
			s.count.Take()
			rate := i%2 + 1
			want += layers * 16 * rate * 2
			if got := s.run(t, rate); got != want {
				t.Fatalf("seed %d, step %d: the weight is %d, want %d; order: %v", seed, i, got, want, s.log)
			}
			c := s.count.Take()
			got := drivertest.Counts{Launches: c.Launches, Graphs: c.Graphs, Replays: c.Replays, Changed: c.Changed}
			expect := drivertest.Counts{Launches: 1, Replays: layers, Changed: layers * 16} // every rate is another
			switch i {
			case 0:
				expect = drivertest.Counts{Launches: layers*16 + 1}
			case 1:
				expect = drivertest.Counts{Launches: 1, Graphs: layers, Replays: layers}
			}
			if diff := cmp.Diff(expect, got); diff != "" {
				t.Errorf("seed %d, step %d: %s", seed, i, diff)
			}
			for j, what := range s.log {
				if j > 0 && what == "sum 0" && s.log[j-1] != "gradient 0" {
					overlapped++
				}
			}
		}
	}
	if overlapped == 0 {
		t.Error("no collective ever ran beside the next segment")
	}
}

// Without the wait for the collectives the update comes too early in some order that the events allow: what a device
// might do once in a thousand steps fails here.
func TestSegmentsNeedTheirEvents(t *testing.T) {
	wrong := 0
	for seed := range uint64(16) {
		if s := newParallelStep(t, seed, false); s.run(t, 1) != layers*16*2 {
			wrong++
		}
	}
	if wrong == 0 {
		t.Error("a step whose update does not wait for its gradients is right in all of 16 orders")
	}
}
