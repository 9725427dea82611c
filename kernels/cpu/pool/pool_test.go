package pool

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

// tally counts how often each task ran and that no worker number is used twice at once.
type tally struct {
	runs []atomic.Int32
	busy []atomic.Bool
	bad  atomic.Int32
}

func (c *tally) Do(task, worker int) {
	if !c.busy[worker].CompareAndSwap(false, true) {
		c.bad.Add(1)
	}
	c.runs[task].Add(1)
	c.busy[worker].Store(false)
}

func TestRunPerformsEveryTaskOnce(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 4, 9} {
		p := New(threads)
		for _, tasks := range []int{0, 1, 2, 3, 7, 64, 1000} {
			for range 20 {
				c := &tally{runs: make([]atomic.Int32, tasks), busy: make([]atomic.Bool, threads)}
				p.Run(tasks, c)
				for i := range c.runs {
					if n := c.runs[i].Load(); n != 1 {
						t.Fatalf("threads %d, tasks %d: task %d ran %d times", threads, tasks, i, n)
					}
				}
				if c.bad.Load() != 0 {
					t.Fatalf("threads %d, tasks %d: two tasks ran at once under one worker number", threads, tasks)
				}
			}
		}
		p.Close()
	}
}

// A worker begins with its own share of the tasks, in order: here task i and task n+i wait for each other, which two
// workers that took the tasks in turn could not end.
func TestRunBeginsWithShares(t *testing.T) {
	p := New(2)
	defer p.Close()
	const n = 50
	meet := make([]chan int, n)
	for i := range meet {
		meet[i] = make(chan int)
	}
	var failed atomic.Bool
	p.Run(2*n, Func(func(task, worker int) {
		if first, end := p.Share(2*n, worker); task < first || task >= end || failed.Load() {
			failed.Store(true)
			return
		}
		late := time.After(5 * time.Second)
		if task < n {
			select {
			case meet[task] <- worker:
			case <-late:
				failed.Store(true)
			}
			return
		}
		select {
		case <-meet[task-n]:
		case <-late:
			failed.Store(true)
		}
	}))
	if failed.Load() {
		t.Error("a worker left its share while the other was at work")
	}
}

// Runs that follow each other closely, and after pauses longer than the spin time, must not lose tasks or mix
// their jobs: workers arrive late, early, or asleep.
func TestRunsInSuccession(t *testing.T) {
	p := New(4)
	defer p.Close()
	for i := range 3000 {
		var sum atomic.Int64
		n := i%5 + 1
		p.Run(n, Func(func(task, _ int) { sum.Add(int64(task) + 1) }))
		if want := int64(n * (n + 1) / 2); sum.Load() != want {
			t.Fatalf("run %d: sum %d, want %d", i, sum.Load(), want)
		}
		if i%300 == 0 {
			time.Sleep(2 * spinTime)
		}
	}
}

func TestSetThreads(t *testing.T) {
	p := New(1)
	defer p.Close()
	for _, n := range []int{2, 4, 1, 3} {
		p.SetThreads(n)
		if p.Threads() != n {
			t.Fatalf("Threads() = %d, want %d", p.Threads(), n)
		}
		c := &tally{runs: make([]atomic.Int32, 50), busy: make([]atomic.Bool, n)}
		p.Run(50, c)
		for i := range c.runs {
			if c.runs[i].Load() != 1 {
				t.Fatalf("threads %d: task %d did not run once", n, i)
			}
		}
	}
}

func TestPanics(t *testing.T) {
	for _, threads := range []int{1, 4} {
		p := New(threads)
		for name, job := range map[string]Func{
			"nested": func(int, int) { p.Run(1, Func(func(int, int) {})) },
			"task":   func(task, _ int) { panic(fmt.Sprintf("task %d", task)) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("threads %d: %s: no panic", threads, name)
					}
				}()
				p.Run(8, job)
			}()
			// The pool is whole again after a panic.
			var n atomic.Int32
			p.Run(8, Func(func(int, int) { n.Add(1) }))
			if n.Load() != 8 {
				t.Errorf("threads %d: after %s: %d of 8 tasks ran", threads, name, n.Load())
			}
		}
		p.Close()
	}
}

type nothing struct{ n [64]int64 }

func (j *nothing) Do(task, _ int) { j.n[task]++ }

func TestRunAllocatesNothing(t *testing.T) {
	for _, threads := range []int{1, 2} {
		p := New(threads)
		j := &nothing{}
		if n := testing.AllocsPerRun(200, func() { p.Run(64, j) }); n != 0 {
			t.Errorf("threads %d: %v allocations a run", threads, n)
		}
		p.Close()
	}
}

func TestScratch(t *testing.T) {
	p := New(2)
	defer p.Close()
	for _, n := range []int{1, 100, 5 << 20, 17} {
		for w := range 2 {
			b := p.Scratch(w, n)
			if len(b) != n || uintptr(unsafe.Pointer(unsafe.SliceData(b)))%64 != 0 {
				t.Errorf("Scratch(%d, %d): length %d, address %p", w, n, len(b), unsafe.SliceData(b))
			}
			b[0], b[n-1] = 1, 1
		}
		if s := p.SharedF32(n); len(s) != n || unsafe.SliceData(s) == unsafe.SliceData(p.ScratchF32(0, n)) {
			t.Errorf("SharedF32(%d) is not its own memory", n)
		}
	}
	if unsafe.SliceData(p.Scratch(0, 8)) == unsafe.SliceData(p.Scratch(1, 8)) {
		t.Error("two workers share scratch memory")
	}
}

func BenchmarkRun(b *testing.B) {
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
			p := New(threads)
			defer p.Close()
			j := &nothing{}
			b.ReportAllocs()
			for b.Loop() {
				p.Run(8, j)
			}
		})
	}
}
