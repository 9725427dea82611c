package cpu

// task is an operation in progress: do works on items lo to hi (rows, blocks or tiles).
type task interface {
	do(w *worker, lo, hi int)
}

// worker is one thread's scratch memory.
type worker struct {
	bufs   [10][]float32
	totals []float64
	_      [64]byte // workers do not share a cache line
}

// buf returns scratch number i with n elements of undefined content; it stays valid until the next call with
// the same i.
func (w *worker) buf(i, n int) []float32 {
	if cap(w.bufs[i]) < n {
		w.bufs[i] = make([]float32, n+n/4)
	}
	return w.bufs[i][:n]
}

// share is the pool's view of an operation: pieces of grain items each.
type share struct {
	b        *Backend
	t        task
	n, grain int
}

// Do performs piece number i.
func (s *share) Do(i, worker int) {
	s.t.do(&s.b.workers[worker], i*s.grain, min((i+1)*s.grain, s.n))
}

// run shares items 0 to n among the threads, grain at a time. The pieces depend on n and grain alone.
func (b *Backend) run(t task, n, grain int) {
	b.running = share{b, t, n, grain}
	b.pool.Run(blocks(n, grain), &b.running)
	b.running.t = nil
}

// rowGrain is how many rows of the given length make a piece of work worth handing to a thread.
func rowGrain(cols int) int {
	const elements = 16 << 10
	return max(1, elements/max(cols, 1))
}

// partials is scratch that lasts for one operation and is shared by its workers.
func (b *Backend) partials(n int) []float32 {
	if cap(b.shared) < n {
		b.shared = make([]float32, n)
	}
	return b.shared[:n]
}

func (b *Backend) totals(n int) []float64 {
	if cap(b.sums) < n {
		b.sums = make([]float64, n)
	}
	return b.sums[:n]
}

func blocks(n, size int) int { return (n + size - 1) / size }

// sums is the worker's scratch of float64 totals.
func (w *worker) sums(n int) []float64 {
	if cap(w.totals) < n {
		w.totals = make([]float64, n+n/4)
	}
	return w.totals[:n]
}
