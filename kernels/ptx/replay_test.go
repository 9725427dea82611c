package ptx_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/cuda/drivertest"
	"github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/kernels/ptx"
	"github.com/dino-mx/dmx/tensor"
)

// work is a small step: rows rows of x are uploaded and run through a chain of operations whose order does not
// depend on rows, and whose results pass through one reused buffer. extra lengthens it.
type work struct {
	b     *cuda.Backend
	x, y  *tensor.Tensor // [16, 8]
	sum   *tensor.Tensor // [8]
	arena *tensor.Arena
	host  []float32
}

func newWork(t *testing.T, b *cuda.Backend) *work {
	t.Helper()
	w := &work{b: b, arena: tensor.NewArena(b.Allocator()), host: make([]float32, 16*8)}
	for _, x := range []struct {
		dst   **tensor.Tensor
		shape []int
	}{{&w.x, []int{16, 8}}, {&w.y, []int{16, 8}}, {&w.sum, []int{8}}} {
		var err error
		if *x.dst, err = tensor.New(b.Allocator(), tensor.F32, x.shape...); err != nil {
			t.Fatal(err)
		}
	}
	b.Fill(w.sum, 0)
	w.arena.Reserve(1 << 20)
	return w
}

func (w *work) step(i, rows int, extra bool) {
	b := w.b
	for j := range w.host {
		w.host[j] = float32(math.Sin(float64(1 + j + 131*i)))
	}
	x, y := w.x.Rows(0, rows), w.y.Rows(0, rows)
	b.Upload(x, tensor.FromF32(w.host[:8*rows], rows, 8))
	for j := range w.host {
		w.host[j] = float32(math.NaN()) // Upload has taken it
	}
	for k := range 6 {
		b.Copy(y, x)
		b.Scale(y, 1+0.1*float64(i)+0.01*float64(k))
		tmp := w.arena.New(tensor.F32, rows, 8)
		b.ActForward(tmp, y, kernels.GELU)
		b.Axpy(x, 0.5, tmp)
		w.arena.Free(tmp)
	}
	if extra {
		b.Scale(x, 0.5)
	}
	b.ColSum(w.sum, x, 1, true)
	w.arena.Reset()
}

func (w *work) read() []float32 {
	host := tensor.Zeros(tensor.F32, 8)
	w.b.Download(host, w.sum)
	return host.F32()
}

// rows and extra are seven steps: the same twice, then other rows, then another sequence, then back.
var rows = []int{16, 16, 16, 13, 13, 16, 5}
var extra = []bool{false, false, false, false, true, true, false}

func device(seed uint64, late bool) (*cuda.Backend, *drivertest.Counter) {
	var d gpu.Driver = ptx.NewDriver(1<<24, 1)
	if late {
		d = drivertest.NewLate(d, seed)
	}
	c := &drivertest.Counter{Driver: d}
	return cuda.New(c, cuda.Versions{}), c
}

// A step that is run as a graph gives the bits of one run kernel by kernel, also when sizes, constants and uploaded
// data change between replays, and on a device that does everything as late as it may.
func TestTogether(t *testing.T) {
	plain, _ := device(0, false)
	w := newWork(t, plain)
	var want [][]float32
	for i := range rows {
		w.step(i, rows[i], extra[i])
		want = append(want, w.read())
	}
	if err := plain.Sync(); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(4) {
		b, count := device(seed, seed > 0)
		w := newWork(t, b)
		count.Take()
		var got [][]float32
		var shapes []drivertest.Counts
		for i := range rows {
			b.Submit(func() { w.step(i, rows[i], extra[i]) })
			c := count.Take()
			shapes = append(shapes, drivertest.Counts{Launches: c.Launches, Graphs: c.Graphs, Replays: c.Replays, Syncs: c.Syncs, CopiesIn: c.CopiesIn})
			got = append(got, w.read())
			count.Take()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("seed %d (-plain +together):\n%s", seed, diff)
		}
		n := shapes[0].Launches
		if n < 16 {
			t.Fatalf("a step launches %d kernels", n)
		}
		want := []drivertest.Counts{{Launches: n}, {Graphs: 1, Replays: 1}, {Replays: 1}, {Replays: 1}, {Launches: n + 1}, {Graphs: 1, Replays: 1}, {Replays: 1}}
		if diff := cmp.Diff(want, shapes); diff != "" {
			t.Errorf("seed %d (-want +got):\n%s", seed, diff)
		}
		if err := b.Sync(); err != nil {
			t.Error(err)
		}
	}
}

// Only commands that differ are changed in a graph, and steps without a read ask the host for nothing.
func TestTogetherChangesLittle(t *testing.T) {
	b, count := device(0, false)
	w := newWork(t, b)
	for range 5 { // in which staging memory is pinned for every turn
		b.Submit(func() { w.step(1, 16, false) })
	}
	count.Take()
	b.Submit(func() { w.step(1, 16, false) })
	got := count.Take()
	// The upload comes from another place of the staging memory each time; nothing else changes.
	// The host waits for the device to be at most four steps behind.
	want := drivertest.Counts{Replays: 1, Commands: got.Commands, Changed: 1, Waits: 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("same step (-want +got):\n%s", diff)
	}
	b.Submit(func() { w.step(2, 16, false) })
	if got := count.Take().Changed; got != 1+6 {
		t.Errorf("%d commands changed with six constants and an upload", got)
	}
}

// What a group asked for before it panicked is done, as without a group.
func TestTogetherPanic(t *testing.T) {
	plain, _ := device(0, false)
	b, _ := device(1, true)
	v, w := newWork(t, plain), newWork(t, b)
	v.step(0, 16, false)
	func() {
		defer func() {
			if recover() != "enough" {
				t.Error("the panic got lost")
			}
		}()
		b.Submit(func() {
			w.step(0, 16, false)
			panic("enough")
		})
	}()
	if diff := cmp.Diff(v.read(), w.read()); diff != "" {
		t.Error(diff)
	}
}

// stubborn makes graphs that cannot be changed.
type stubborn struct{ gpu.Driver }

type fixed struct {
	gpu.Graph
}

func (d stubborn) NewGraph(cs []gpu.Command) (gpu.Graph, error) {
	g, err := d.Driver.NewGraph(cs)
	return fixed{g}, err
}

func (g fixed) Launch(cs []gpu.Command, changed []int) error {
	if len(changed) > 0 {
		return gpu.ErrGraph
	}
	return g.Graph.Launch(cs, nil)
}

func TestTogetherWithoutGraphUpdates(t *testing.T) {
	plain, _ := device(0, false)
	b := cuda.New(stubborn{ptx.NewDriver(1<<24, 1)}, cuda.Versions{})
	w, v := newWork(t, plain), newWork(t, b)
	for i := range rows {
		w.step(i, rows[i], extra[i])
		b.Submit(func() { v.step(i, rows[i], extra[i]) })
		if diff := cmp.Diff(w.read(), v.read()); diff != "" {
			t.Errorf("step %d:\n%s", i, diff)
		}
	}
	if err := b.Sync(); err != nil {
		t.Error(err)
	}
}

// A fault that shows late says what was running; waiting for every kernel names the one.
func TestFaultNamesKernel(t *testing.T) {
	broken := errors.New("CUDA_ERROR_ILLEGAL_ADDRESS (700)")
	run := func(each bool) error {
		d := &drivertest.Failer{Driver: ptx.NewDriver(1<<24, 1), FailLaunch: 7, Err: broken}
		b := cuda.New(drivertest.NewLate(d, 1), cuda.Versions{})
		if each {
			b.SyncEach()
		}
		w := newWork(t, b)
		b.Submit(func() { w.step(0, 16, false) })
		return b.Sync()
	}
	late, each := run(false), run(true)
	if !errors.Is(late, gpu.ErrFault) || !errors.Is(late, broken) {
		t.Errorf("late: %v", late)
	}
	for _, part := range []string{"DMX_CUDA_SYNC=1", "act_f32w (6)", "scale_f32v (6)", "emulated-cuda:0"} {
		if !strings.Contains(late.Error(), part) {
			t.Errorf("late: %q lacks %q", late, part)
		}
	}
	if !errors.Is(each, broken) || !strings.Contains(each.Error(), "kernel axpy_f32_f32v, grid [1 1 1]") {
		t.Errorf("each: %v", each)
	}
}

// Every batch arrives whole, beside the work on the one before, whatever the order that streams and events allow.
func TestFeed(t *testing.T) {
	for seed := range uint64(6) {
		b, count := device(seed, true)
		w := newWork(t, b)
		pinned := b.Pinned()
		var slots, hosts [2]*tensor.Tensor
		for i := range slots {
			slots[i], hosts[i] = must(t, b.Allocator()), must(t, pinned)
		}
		var tickets [2]kernels.Ticket
		put := func(step int) {
			i := step % 2
			for j := range hosts[i].F32() {
				hosts[i].F32()[j] = float32(step*1000 + j)
			}
			tickets[i] = b.UploadAsync(slots[i], hosts[i])
		}
		put(0)
		b.Fill(w.x, 0)
		b.ColSum(w.sum, w.x, 1, true) // makes room for partial sums
		count.Take()
		for step := range 12 {
			put(step + 1)
			i := step % 2
			b.Submit(func() {
				b.OrderAfter(tickets[i])
				for range 8 {
					b.Fill(w.x, 0)
					b.Axpy(w.x, 1, slots[i])
				}
				b.ColSum(w.sum, w.x, 1, true)
			})
			b.WaitCopied(tickets[i])
			for j := range hosts[i].F32() {
				hosts[i].F32()[j] = float32(math.NaN())
			}
		}
		if c := count.Take(); c.Syncs+c.CopiesIn+c.Allocs+c.Pins > 0 {
			t.Errorf("%+v", c)
		}
		want := make([]float32, 8)
		for step := range 12 {
			for r := range 16 {
				for j := range want {
					want[j] += float32(step*1000 + 8*r + j)
				}
			}
		}
		if diff := cmp.Diff(want, w.read()); diff != "" {
			t.Errorf("seed %d (-want +got):\n%s", seed, diff)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}

func must(t *testing.T, a tensor.Allocator) *tensor.Tensor {
	t.Helper()
	x, err := tensor.New(a, tensor.F32, 16, 8)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// An allocation that does not fit says what was asked for, what is free and what to change, and leaves the device
// usable.
func TestOutOfMemory(t *testing.T) {
	b, _ := device(0, false)
	held, err := b.Allocator().Alloc(10 << 20)
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Allocator().Alloc(9 << 20)
	var oom *tensor.OutOfMemory
	if !errors.As(err, &oom) {
		t.Fatalf("%v", err)
	}
	if diff := cmp.Diff(&tensor.OutOfMemory{Device: held.Device, Requested: 9 << 20, InUse: 10 << 20, Free: 6 << 20}, oom); diff != "" {
		t.Error(diff)
	}
	for _, part := range []string{"asked for 9 MiB", "10 MiB in use", "6 MiB free"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
	b.Allocator().Free(held)
	if _, err = b.Allocator().Alloc(9 << 20); err != nil || b.MemoryInUse() != 9<<20 {
		t.Errorf("after giving back: %v, %d in use", err, b.MemoryInUse())
	}
}
