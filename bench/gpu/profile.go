package main

import (
	"cmp"
	"fmt"
	"log"
	"slices"
	"strings"
	"time"

	"github.com/dino-mx/dmx/kernels/cuda"
	contract "github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/ssl"
	"github.com/dino-mx/dmx/tensor"
)

// timed is a driver that times every kernel launch by itself and charges it to the operation that is being carried out.
type timed struct {
	contract.Driver
	measure func(work func() error) (time.Duration, error)
	charge  func(kernel string, d time.Duration)
}

func (t *timed) Launch(l *contract.Launch) error {
	d, err := t.measure(func() error { return t.Driver.Launch(l) })
	if err == nil {
		t.charge(l.Name, d)
	}
	return err
}

// profile is the device time of one step by operation and shape.
type profile struct {
	on      bool
	current operation
	order   []*profileRow
	rows    map[string]*profileRow // by operation and shape
}

// profileRow is all calls of an operation with one shape.
type profileRow struct {
	operation
	kernels         []string // launched by it
	calls, launches int
	time            time.Duration
}

// begin makes o the operation that launches are charged to.
func (p *profile) begin(o operation) {
	p.current = o
	if !p.on {
		return
	}
	r := p.row(o)
	r.calls++
}

func (p *profile) row(o operation) *profileRow {
	key := o.name + " " + o.shape
	r := p.rows[key]
	if r == nil {
		r = &profileRow{operation: o}
		p.rows[key] = r
		p.order = append(p.order, r)
	}
	return r
}

func (p *profile) charge(kernel string, d time.Duration) {
	if !p.on {
		return
	}
	r := p.row(p.current)
	r.launches++
	r.time += d
	if !slices.Contains(r.kernels, kernel) {
		r.kernels = append(r.kernels, kernel)
	}
}

// floor is the least time of a call in seconds on a device that multiplies at flopRate and moves bytes at byteRate, both
// per second. An emulated device has no rate of products.
func (o operation) floor(flopRate, byteRate float64) float64 {
	move := float64(o.bytes) / byteRate
	if flopRate == 0 {
		return move
	}
	return max(float64(o.flops)/flopRate, move)
}

// profileSection is the device time of every launch of one step that is not a graph.
func profileSection(b *bench, t *table) error {
	t.title = "## Where the time of a step goes\n\n"
	for i, name := range b.models {
		m, err := findModel(name)
		if err != nil {
			return err
		}
		if err := b.profileModel(t, m, i == 0); err != nil {
			log.Printf("ViT-%s/%d: %v", m.name, m.patch, err)
			t.printf("\nViT-%s/%d: %v\n", m.name, m.patch, err)
		}
	}
	return nil
}

func (b *bench) profileModel(t *table, m model, first bool) error {
	plain, err := b.open(versions{})
	if err != nil {
		return err
	}
	defer plain.close()
	byteRate, err := plain.copyRate(b)
	if err != nil {
		return err
	}
	p := &profile{rows: map[string]*profileRow{}}
	// A short write before each launch keeps the device busy until the launch and its two events are queued; what is
	// between the events is then the kernel alone. It leaves a part of the cache cold.
	delay, err := plain.backend.Allocator().Alloc(b.delayBytes())
	if err != nil {
		return err
	}
	busy := tensor.Over(delay, 0, tensor.F32, b.delayBytes()/4)
	timer := &timed{Driver: plain.driver, charge: p.charge}
	timer.measure = func(work func() error) (time.Duration, error) {
		if !p.on {
			return 0, work()
		}
		plain.backend.Fill(busy, 1)
		var failed error
		d, err := plain.time(func() { failed = work() })
		if failed != nil {
			return 0, failed
		}
		return d, err
	}
	backend := cuda.New(timer, versions{})
	settings := m.settings()
	models, err := ssl.Build(&counted{inner: backend, announce: p.begin}, tensor.BF16, settings, ssl.Sources{})
	if err != nil {
		return err
	}
	trainer, err := ssl.NewTrainer(models)
	if err != nil {
		return err
	}
	batch, err := m.noise(tensor.Host)
	if err != nil {
		return err
	}
	for i := range 3 { // memory is in place after the first two
		p.on = i == 2
		if _, err := trainer.Step(batch); err != nil {
			return err
		}
	}
	flopRate := cuda.PeakGFLOPS(plain.driver.Info()) * 1e9
	if first {
		t.printf("\nEach launch of one DINOv2 step is timed by itself, by events of the device; a step that runs as a graph is faster by what lies between\nlaunches. Floor: the larger of FLOPs over %.0f TFLOP/s (the data sheet's rate at the largest clock) and bytes over %.0f GB/s (a copy by\nthe driver, measured just before; every input read once, every output written once).\n", flopRate/1e12, byteRate/1e9)
	}
	p.write(t, m, flopRate, byteRate)
	return nil
}

// delayBytes is what is written before a launch that is timed.
func (b *bench) delayBytes() int {
	if b.dry {
		return 1 << 12
	}
	return 32 << 20
}

// copyRate is the bytes that a copy inside the device reads and writes in a second.
func (g *gpu) copyRate(b *bench) (float64, error) {
	bytes := b.flushBytes()
	buffer, err := g.backend.Allocator().Alloc(2 * bytes)
	if err != nil {
		return 0, err
	}
	defer g.backend.Allocator().Free(buffer)
	from, to := tensor.Over(buffer, 0, tensor.F32, bytes/4), tensor.Over(buffer, bytes, tensor.F32, bytes/4)
	g.backend.Fill(from, 1)
	best := time.Duration(0)
	for range 5 {
		d, err := g.time(func() { g.backend.Copy(to, from) })
		if err != nil {
			return 0, err
		}
		if best == 0 || d < best {
			best = d
		}
	}
	return 2 * float64(bytes) / best.Seconds(), nil
}

// write writes the rows, the longest first, and the sums of each operation.
func (p *profile) write(t *table, m model, flopRate, byteRate float64) {
	total, floors := time.Duration(0), 0.0
	byName := map[string]*profileRow{}
	var names []*profileRow
	for _, r := range p.order {
		total += r.time
		floor := float64(r.calls) * r.floor(flopRate, byteRate)
		if r.launches == 0 {
			floor = 0 // a copy between host and device
		}
		floors += floor
		s := byName[r.name]
		if s == nil {
			s = &profileRow{operation: operation{name: r.name}}
			byName[r.name] = s
			names = append(names, s)
		}
		s.calls, s.launches, s.time = s.calls+r.calls, s.launches+r.launches, s.time+r.time
	}
	share := func(d time.Duration) float64 { return 100 * d.Seconds() / max(total.Seconds(), 1e-12) }
	longest := func(a, b *profileRow) int {
		return cmp.Or(cmp.Compare(b.time, a.time), cmp.Compare(a.name, b.name), cmp.Compare(a.shape, b.shape))
	}
	t.printf("\n### ViT-%s/%d: %.1f ms in all, %.1f ms of floors\n\n| operation | launches | ms | of the step |\n|---|---:|---:|---:|\n", m.name, m.patch, 1e3*total.Seconds(), 1e3*floors)
	slices.SortFunc(names, longest)
	for _, r := range names {
		t.printf("| %s | %d | %.2f | %.1f %% |\n", r.name, r.launches, 1e3*r.time.Seconds(), share(r.time))
	}
	t.printf("\n| operation | shape | kernels | launches | ms | of the step | floor, ms | of the floor |\n|---|---|---|---:|---:|---:|---:|---:|\n")
	rows := slices.DeleteFunc(slices.Clone(p.order), func(r *profileRow) bool { return r.launches == 0 })
	slices.SortFunc(rows, longest)
	const shown = 60 // the rest is small, and summed up
	var rest profileRow
	for i, r := range rows {
		if i >= shown {
			rest.launches, rest.time = rest.launches+r.launches, rest.time+r.time
			continue
		}
		floor := float64(r.calls) * r.floor(flopRate, byteRate)
		t.printf("| %s | %s | %s | %d | %.3f | %.1f %% | %.3f | %.0f %% |\n", r.name, r.shape, strings.Join(r.kernels, ", "), r.launches,
			1e3*r.time.Seconds(), share(r.time), 1e3*floor, 100*floor/max(r.time.Seconds(), 1e-12))
	}
	if rest.launches > 0 {
		t.printf("| all others | | | %d | %.3f | %.1f %% | | |\n", rest.launches, 1e3*rest.time.Seconds(), share(rest.time))
	}
	fmt.Println()
}
