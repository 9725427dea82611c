package pool

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Job is work that can be performed in numbered tasks, in any order and at the same time. A pointer to a struct
// that the caller keeps makes Run free of allocation.
type Job interface {
	// Do performs one task. worker is below Threads and is the same for no two tasks running at once: it
	// selects scratch memory and nothing that could change a result.
	Do(task, worker int)
}

// Func makes a Job of a function. A closure costs one small allocation where it is made.
type Func func(task, worker int)

// Do calls f.
func (f Func) Do(task, worker int) { f(task, worker) }

// Pool is a set of workers; the goroutine that calls Run is one of them. A Pool serves one goroutine at a time.
type Pool struct {
	threads int
	workers []*worker // the ones beside the caller: workers[i] has number i+1
	scratch []scratch
	stopped sync.WaitGroup
	spin    time.Duration

	busy    atomic.Bool
	job     Job
	shares  []share // of the tasks, one for each worker
	_       [64]byte
	pending atomic.Int64 // tasks claimed or not that are not finished yet
	waiting atomic.Bool  // the caller sleeps on done
	_       [64]byte
	epoch   atomic.Uint32
	closing atomic.Bool
	done    chan struct{}
	failure atomic.Pointer[failure]
	shared  scratch
}

// share is the range of a run's tasks that one worker starts with. Successive operations on the same rows then mostly run
// on the same worker, whose caches hold them: between cores that share no cache, reading a line costs as much as from
// memory. claim holds the end of the range in its upper half and the next task in its lower half, so that one atomic
// addition both claims a task and tells whether it exists: a worker that arrives after the end of a run cannot claim a
// task of the next run by mistake.
type share struct {
	claim atomic.Uint64
	_     [120]byte // processors fetch lines in pairs
}

func (s *share) next() (task int, ok bool) {
	if v := s.claim.Load(); uint32(v) >= uint32(v>>32) {
		return 0, false // without taking the line away from the others
	}
	v := s.claim.Add(1) - 1
	return int(uint32(v)), uint32(v) < uint32(v>>32)
}

type worker struct {
	parked atomic.Bool
	wake   chan struct{}
	_      [64]byte
}

type failure struct{ value any }

// spinTime is how long an idle worker, or a caller that waits for the last tasks, polls before it sleeps. Waking a sleeping goroutine costs about 5 µs, up to 50 µs where the processor has to leave a sleep state,
// and on a virtual machine, whose host may have given the processor away, many milliseconds: the short serial parts
// between the operations of a training step must not put workers to sleep.
const spinTime = time.Millisecond

// New starts a pool of the given number of threads, the calling goroutine included; 0 means GOMAXPROCS.
func New(threads int) *Pool {
	p := &Pool{done: make(chan struct{}, 1)}
	p.start(threads)
	return p
}

// Threads is the number of workers, the caller of Run included.
func (p *Pool) Threads() int { return p.threads }

// SetThreads changes the number of workers; 0 means GOMAXPROCS. It must not be called from a task.
func (p *Pool) SetThreads(threads int) {
	if p.busy.Load() {
		panic("pool: SetThreads inside Run")
	}
	p.stop()
	p.start(threads)
}

// Close ends the workers and frees their scratch memory. The pool must not be used afterwards.
func (p *Pool) Close() {
	p.stop()
	p.freeScratch()
}

func (p *Pool) start(threads int) {
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	p.threads = threads
	p.spin = spinTime
	if threads > runtime.GOMAXPROCS(0) {
		p.spin = 0 // a spinning worker would keep a working one off the processor
	}
	p.shares = make([]share, threads)
	for len(p.scratch) < threads {
		p.scratch = append(p.scratch, scratch{})
	}
	p.closing.Store(false)
	p.workers = make([]*worker, threads-1)
	for i := range p.workers {
		w := &worker{wake: make(chan struct{}, 1)}
		p.workers[i] = w
		p.stopped.Add(1)
		go p.serve(w, i+1, p.epoch.Load())
	}
}

func (p *Pool) stop() {
	p.closing.Store(true)
	p.rouse(len(p.workers))
	p.stopped.Wait()
	p.workers = nil
}

// Run performs tasks 0 to tasks-1 of job and returns when all are done. It must not be called from inside a
// task, nor by two goroutines at once: it panics. A panic inside a task is passed on to the caller of Run once
// the other tasks have ended.
func (p *Pool) Run(tasks int, job Job) {
	if tasks <= 0 {
		return
	}
	if tasks >= 1<<31 {
		panic(fmt.Sprintf("pool: %d tasks in one run", tasks))
	}
	if !p.busy.CompareAndSwap(false, true) {
		panic("pool: Run inside Run, or from two goroutines")
	}
	if p.threads == 1 || tasks == 1 {
		p.alone(tasks, job)
		return
	}
	p.job = job
	p.pending.Store(int64(tasks))
	parts := min(tasks, p.threads)
	for i := range parts {
		first, end := p.Share(tasks, i)
		p.shares[i].claim.Store(uint64(end)<<32 | uint64(first))
	}
	p.rouse(parts - 1)
	p.drain(0)
	p.await()
	p.job = nil
	p.busy.Store(false)
	if f := p.failure.Swap(nil); f != nil {
		panic(f.value)
	}
}

// Share is the stretch of tasks, from first to before end, that a worker begins with in a run of so many. It goes through
// them in order; what is left of them in the end others may take.
func (p *Pool) Share(tasks, worker int) (first, end int) {
	parts := min(tasks, p.threads)
	if worker >= parts {
		return tasks, tasks
	}
	return tasks * worker / parts, tasks * (worker + 1) / parts
}

func (p *Pool) alone(tasks int, job Job) {
	defer p.busy.Store(false)
	for t := range tasks {
		job.Do(t, 0)
	}
}

// rouse starts a new epoch and wakes those of the first n workers that sleep.
func (p *Pool) rouse(n int) {
	p.epoch.Add(1)
	for _, w := range p.workers[:n] {
		if w.parked.CompareAndSwap(true, false) {
			w.wake <- struct{}{}
		}
	}
}

// drain performs tasks until none is left to claim: those of the worker's own share, then what is left of the others'.
func (p *Pool) drain(worker int) {
	for i := range p.shares {
		s := &p.shares[(worker+i)%len(p.shares)]
		for p.claimed(s, worker) {
		}
	}
}

// claimed claims and performs tasks of one share. It returns false when there are none left, true after a panic.
func (p *Pool) claimed(s *share, worker int) (more bool) {
	done := 0 // reported once: pending is everyone's
	inTask := false
	defer func() {
		if inTask {
			p.failure.CompareAndSwap(nil, &failure{recover()})
			done++
			more = true
		}
		p.finish(done)
	}()
	for {
		task, ok := s.next()
		if !ok {
			return false
		}
		inTask = true
		p.job.Do(task, worker)
		inTask = false
		done++
	}
}

func (p *Pool) finish(tasks int) {
	if tasks > 0 && p.pending.Add(int64(-tasks)) == 0 && p.waiting.CompareAndSwap(true, false) {
		p.done <- struct{}{}
	}
}

// await waits for tasks that other workers have not finished.
func (p *Pool) await() {
	if p.pending.Load() == 0 || p.spinUntil(func() bool { return p.pending.Load() == 0 }) {
		return
	}
	p.waiting.Store(true)
	if p.pending.Load() == 0 && p.waiting.CompareAndSwap(true, false) {
		return
	}
	<-p.done
}

func (p *Pool) serve(w *worker, number int, seen uint32) {
	defer p.stopped.Done()
	// Operands may lie in a mapped file. If it is cut off meanwhile, a read is to be a panic, which Run passes on to
	// its caller, and not the end of the program.
	debug.SetPanicOnFault(true)
	for {
		if !p.spinUntil(func() bool { return p.epoch.Load() != seen }) {
			w.parked.Store(true)
			// The epoch may have moved between the last look and parked; whoever moved it has then either
			// seen parked, and sends, or not, and this worker takes its own mark back.
			if p.epoch.Load() == seen || !w.parked.CompareAndSwap(true, false) {
				<-w.wake
			}
		}
		seen = p.epoch.Load()
		if p.closing.Load() {
			return
		}
		p.drain(number)
	}
}

// spinUntil looks at a condition for the pool's spin time and returns whether it came true.
func (p *Pool) spinUntil(met func() bool) bool {
	if p.spin == 0 {
		return met()
	}
	var start time.Time
	for i := 1; ; i++ {
		for range 64 {
			if met() {
				return true
			}
			pause()
		}
		// The clock is read seldom, and first after the shortest waits are over.
		if i == 1 {
			start = time.Now()
		} else if time.Since(start) > p.spin {
			return false
		}
	}
}
