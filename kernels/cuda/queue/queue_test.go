package queue_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/kernels/cuda/drivertest"
	"github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/kernels/cuda/queue"
	"github.com/dino-mx/dmx/tensor"
)

// errBroken is what the kernel named broken fails with.
var errBroken = errors.New("CUDA_ERROR_ILLEGAL_ADDRESS (700)")

// newHost returns a device with one page of memory at *at and the kernels add, which adds its one argument byte to every
// byte of the page, and broken.
func newHost(t *testing.T, at *uint64) *drivertest.Host {
	t.Helper()
	h := drivertest.NewHost(1 << 16)
	h.Kernels["add"] = func(h *drivertest.Host, l *gpu.Launch) error {
		p, err := h.Bytes(*at, page)
		for i := range p {
			p[i] += l.Args[0]
		}
		return err
	}
	h.Kernels["broken"] = func(*drivertest.Host, *gpu.Launch) error { return errBroken }
	var err error
	if *at, err = h.Alloc(2 * page); err != nil {
		t.Fatal(err)
	}
	return h
}

const page = 256

func launch(name string, arg byte) gpu.Command {
	return gpu.Command{Kind: gpu.LaunchCommand, Launch: gpu.Launch{Name: name, Function: name, Args: []byte{arg}}}
}

// step adds commands to q: it uploads first, adds i to it ten times, doubled by a copy through the second page.
func step(q *queue.Queue, at uint64, first, i byte) {
	src := bytes.Repeat([]byte{first}, page)
	q.CopyIn(at, src)
	clear(src) // CopyIn has copied it
	for range 10 {
		q.Add(launch("add", i))
		q.Add(gpu.Command{Kind: gpu.CopyCommand, Dst: at + page, Src: at, Bytes: page})
	}
}

func read(q *queue.Queue, at uint64) byte {
	out := make([]byte, 2*page)
	q.CopyOut(out, at)
	if !bytes.Equal(out, bytes.Repeat(out[:1], 2*page)) {
		return 0xff
	}
	return out[0]
}

// A batch gives the same bytes as its commands one by one, whether the device runs it at once or as late as it may,
// and becomes a graph the second time.
func TestBatches(t *testing.T) {
	for seed := range uint64(4) {
		var at uint64
		count := &drivertest.Counter{Driver: drivertest.NewLate(newHost(t, &at), seed)}
		q := queue.New(count, tensor.Device{Kind: tensor.CUDA})
		var got []byte
		var graphs []int
		for i := range byte(5) {
			count.Take()
			q.Submit(func() { step(q, at, i, 1+i) })
			got = append(got, read(q, at))
			graphs = append(graphs, count.Take().Graphs)
		}
		if err := q.Sync(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]byte{10, 21, 32, 43, 54}, got); diff != "" {
			t.Errorf("seed %d: %s", seed, diff)
		}
		if diff := cmp.Diff([]int{0, 1, 0, 0, 0}, graphs); diff != "" {
			t.Errorf("graphs made: %s", diff)
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A copy beside the computation arrives before the commands ordered after it, and its host memory may be changed once
// Wait returns.
func TestUploads(t *testing.T) {
	for seed := range uint64(8) {
		var at uint64
		h := newHost(t, &at)
		q := queue.New(drivertest.NewLate(h, seed), tensor.Device{Kind: tensor.CUDA})
		buf, err := q.Pinned().Alloc(2 * page)
		if err != nil {
			t.Fatal(err)
		}
		for i := range byte(12) {
			for j := range buf.Host {
				buf.Host[j] = 3 * i
			}
			ticket := q.Upload(at, buf.Host)
			q.OrderAfter(ticket)
			q.Add(launch("add", 1))
			q.Add(gpu.Command{Kind: gpu.CopyCommand, Dst: at + page, Src: at, Bytes: page})
			q.Wait(ticket)
			for j := range buf.Host {
				buf.Host[j] = 0xee
			}
			if got := read(q, at); got != 3*i+1 {
				t.Errorf("seed %d, copy %d: the page holds %d, want %d", seed, i, got, 3*i+1)
			}
		}
		if err := q.Sync(); err != nil {
			t.Fatal(err)
		}
	}
}

// The first fault is kept until Sync, which names the kernels that were on their way; with SyncEach it names the one
// kernel. Nothing is submitted in between.
func TestFaults(t *testing.T) {
	for _, each := range []bool{false, true} {
		var at uint64
		count := &drivertest.Counter{Driver: drivertest.NewLate(newHost(t, &at), 1)}
		q := queue.New(count, tensor.Device{Kind: tensor.CUDA, Index: 2})
		if each {
			q.SyncEach()
		}
		q.Add(launch("add", 1))
		q.Add(launch("broken", 1))
		q.Drain()
		if !q.Failed() {
			t.Fatal("the fault is lost")
		}
		count.Take()
		q.Add(launch("add", 1))
		if n := count.Take().Launches; n != 0 {
			t.Errorf("%d launches after a fault", n)
		}
		err := q.Sync()
		if !errors.Is(err, errBroken) || !errors.Is(err, gpu.ErrFault) {
			t.Fatalf("Sync: %v", err)
		}
		want := "cuda:2: a kernel failed"
		if each {
			want = "kernel broken"
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "add (1), broken (1)") == each {
			t.Errorf("Sync: %v", err)
		}
		if q.Failed() {
			t.Error("the fault is reported twice")
		}
	}
}
