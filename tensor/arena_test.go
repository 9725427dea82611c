package tensor

import (
	"errors"
	"math"
	"strings"
	"testing"
)

// counting is the host allocator with a limit and a count of what it handed out.
type counting struct {
	allocs, live, limit int
}

func (c *counting) Device() Device { return Device{} }

func (c *counting) Alloc(n int) (*Buffer, error) {
	if c.limit > 0 && c.live+n > c.limit {
		return nil, errors.New("limit reached")
	}
	c.allocs++
	c.live += n
	return Host.Alloc(n)
}

func (c *counting) Free(b *Buffer) { c.live -= b.Size; Host.Free(b) }

// check holds the arena to its invariants: the blocks of a slab lie end to end, no two free ones are neighbours, and
// what is in use adds up.
func (a *Arena) check(t *testing.T) {
	t.Helper()
	used := 0
	for _, s := range a.slabs {
		at := 0
		for b := s.first; b != nil; b = b.next {
			if b.off != at || b.size <= 0 || b.size%arenaAlign != 0 || b.slab != s {
				t.Fatalf("block at %d of %d bytes follows the byte %d", b.off, b.size, at)
			}
			if b.next != nil && b.next.prev != b {
				t.Fatalf("block at %d is not its neighbour's neighbour", b.off)
			}
			if b.next != nil && !b.used && !b.next.used {
				t.Fatalf("two free neighbours at %d and %d", b.off, b.next.off)
			}
			if b.used {
				used += b.size
			}
			at += b.size
		}
		if at != s.buf.Size {
			t.Fatalf("blocks cover %d of %d bytes", at, s.buf.Size)
		}
	}
	if used != a.InUse() || a.Peak() < used || a.Reserved() < used {
		t.Fatalf("in use %d, reported %d, peak %d, reserved %d", used, a.InUse(), a.Peak(), a.Reserved())
	}
}

// Random allocation, freeing and resets: live tensors keep their values, and the invariants hold throughout.
func TestArenaUnderRandomUse(t *testing.T) {
	for seed := range uint64(8) {
		r := NewRand(seed, 0, 0, 1<<24)
		alloc := &counting{}
		a := NewArena(alloc)
		a.Poison = seed%2 == 0
		type live struct {
			t    *Tensor
			mark int32
		}
		var tensors []live
		for step := range 2000 {
			switch {
			case r.Bool(0.01):
				tensors = tensors[:0]
				a.Reset()
				if a.InUse() != 0 || len(a.slabs) > 1 {
					t.Fatalf("after a reset %d bytes are in use in %d slabs", a.InUse(), len(a.slabs))
				}
			case len(tensors) > 0 && r.Bool(0.45):
				i := r.Intn(len(tensors))
				l := tensors[i]
				for _, v := range l.t.I32() {
					if v != l.mark {
						t.Fatalf("step %d: a live tensor holds %d, want %d", step, v, l.mark)
					}
				}
				tensors = append(tensors[:i], tensors[i+1:]...)
				a.Free(l.t)
			default:
				x := a.New(I32, r.Intn(1+r.Intn(60_000)))
				for i := range x.I32() {
					x.I32()[i] = int32(step)
				}
				tensors = append(tensors, live{x, int32(step)})
			}
			a.check(t)
		}
		a.Release()
		if alloc.live != 0 {
			t.Errorf("seed %d: %d bytes left after Release", seed, alloc.live)
		}
	}
}

// After the first step a step of the same tensors asks for no memory.
func TestArenaSteadyStateAllocatesNothing(t *testing.T) {
	alloc := &counting{}
	a := NewArena(alloc)
	defer a.Release()
	step := func() {
		for i := range 50 {
			x := a.New(F32, 1000*(i%7+1), 11)
			if i%3 == 0 {
				a.Free(x)
			}
		}
		a.Reset()
	}
	step()
	before := alloc.allocs
	for range 5 {
		step()
	}
	if alloc.allocs != before {
		t.Errorf("%d slabs were allocated after the first step", alloc.allocs-before)
	}
}

// After a first step in many slabs the arena holds one slab in which the step just fits: little more than was ever in
// use at a time.
func TestArenaReservesWhatAStepNeeds(t *testing.T) {
	alloc := &counting{}
	a := NewArena(alloc)
	defer a.Release()
	step := func() {
		var kept []*Tensor
		for i := range 200 {
			x, y := a.New(U8, 100_000+7_000*(i%5)), a.New(U8, 300_000)
			a.Free(x)
			if i%4 == 0 {
				kept = append(kept, y)
			} else {
				a.Free(y)
			}
		}
		for _, y := range kept {
			a.Free(y)
		}
	}
	step()
	if len(a.slabs) < 2 {
		t.Fatalf("the first step made %d slabs; make it larger", len(a.slabs))
	}
	a.Reset()
	if got, most := a.Reserved(), a.Peak()*105/100; got > most {
		t.Errorf("%d bytes are reserved with a peak of %d", got, a.Peak())
	}
	need := a.Reserved()
	for _, reserved := range []int{need, 2 * need} {
		a.Release()
		a.Reserve(reserved)
		before := alloc.allocs
		for range 3 {
			step()
			a.check(t)
			a.Reset()
		}
		if alloc.allocs != before {
			t.Errorf("the step did not fit %d bytes", reserved)
		}
		a.Fit(1 << 20)
		if a.Reserved() != need+1<<20 {
			t.Errorf("fitted to %d bytes, want %d and a MiB", a.Reserved(), need)
		}
	}
}

// With Coarse, a tensor that grows a little moves none of the others.
func TestArenaCoarse(t *testing.T) {
	a := NewArena(Host)
	a.Coarse = true
	defer a.Release()
	a.Reserve(64 << 20)
	places := func(rows int) (at []int) {
		defer a.Reset()
		for range 4 {
			x, y := a.New(F32, 7, 384), a.New(BF16, rows, 384)
			at = append(at, x.off, y.off)
			a.Free(x)
		}
		return at
	}
	want := places(4870)
	for rows := 4865; rows < 4885; rows++ {
		got := places(rows)
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("%d rows: tensor %d lies at %d, with 4870 rows at %d", rows, i, got[i], want[i])
			}
		}
	}
	for bytes := range 100_000 {
		if got := a.rounded(bytes + 1); got <= bytes || got > bytes+256+bytes/32 || got%arenaAlign != 0 {
			t.Fatalf("%d bytes become %d", bytes+1, got)
		}
	}
}

// What is given back reads as NaN, so that a use after free shows.
func TestArenaPoison(t *testing.T) {
	a := NewArena(Host)
	a.Poison = true
	defer a.Release()
	x, y := a.New(F32, 100), a.New(BF16, 33)
	clear(x.F32())
	clear(y.BF16())
	a.Free(x)
	for i, v := range x.F32() {
		if v == v {
			t.Fatalf("freed element %d is %v", i, v)
		}
	}
	if FromBF16(y.BF16()[0]) != 0 {
		t.Error("freeing one tensor poisoned another")
	}
	a.Reset()
	nan := 0
	for _, v := range y.BF16() {
		if f := FromBF16(v); f != f {
			nan++
		}
	}
	if nan == 0 {
		t.Error("a bf16 tensor does not show a reset")
	}
	if !math.IsNaN(float64(Over(a.slabs[0].buf, 0, F32, 1).F32()[0])) {
		t.Error("memory in use at a reset was not poisoned")
	}
}

func TestArenaMistakes(t *testing.T) {
	a := NewArena(Host)
	defer a.Release()
	x := a.New(F32, 4)
	a.Free(x)
	if message := panics(func() { a.Free(x) }); !strings.Contains(message, "freed twice") {
		t.Errorf("freeing twice: %q", message)
	}
	a.Free(nil)
	a.Free(Zeros(F32, 3)) // not of an arena
	if a.InUse() != 0 {
		t.Errorf("%d bytes in use", a.InUse())
	}
	if y := a.New(F32, 0, 5); y.Len() != 0 {
		t.Errorf("an empty tensor has %d elements", y.Len())
	}
}

func TestArenaOutOfMemory(t *testing.T) {
	a := NewArena(&counting{limit: 3 << 20})
	defer a.Release()
	a.New(F32, 1<<18) // 1 MiB
	defer func() {
		err, ok := recover().(*OutOfMemory)
		if !ok {
			t.Fatal("no *OutOfMemory")
		}
		if err.Requested != 4<<20 || err.InUse != 1<<20 || errors.Unwrap(err) == nil {
			t.Errorf("%+v", err)
		}
		for _, want := range []string{"asked for 4 MiB", "1 MiB in use", "limit reached"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q lacks %q", err, want)
			}
		}
	}()
	a.New(F32, 1<<20)
}

// A slab larger than the need is not insisted on when the device has just enough.
func TestArenaTakesWhatIsThere(t *testing.T) {
	a := NewArena(&counting{limit: 200 << 10})
	defer a.Release()
	if x := a.New(F32, 1000); x.Len() != 1000 {
		t.Error("no tensor")
	}
}

// Reserve takes one slab that later steps fit into, and leaves the peak alone.
func TestReserve(t *testing.T) {
	a := NewArena(Host)
	a.New(F32, 1000)
	a.Reset()
	a.Reserve(5 << 20)
	if a.Reserved() < 5<<20 || a.Peak() != 4096 || len(a.slabs) != 1 {
		t.Errorf("%d bytes in %d slabs reserved, peak %d", a.Reserved(), len(a.slabs), a.Peak())
	}
	before := a.slabs[0]
	a.Reserve(1 << 20)
	a.New(U8, 5<<20)
	if len(a.slabs) != 1 || a.slabs[0] != before {
		t.Error("a smaller reservation, or a tensor that fits, took other memory")
	}
	defer func() {
		if recover() == nil {
			t.Error("Reserve on an arena in use")
		}
	}()
	a.Reserve(9 << 20)
}
