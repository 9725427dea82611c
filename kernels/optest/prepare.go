package optest

import (
	"runtime"
	"sync"

	"github.com/dino-mx/dmx/tensor"
)

// request names one row to evaluate: a row of the table and its working type.
type request struct {
	spec  *spec
	dtype tensor.DType
}

// requests lists the wanted rows operation by operation, type by type, in the table's order.
func requests(o *options) []request {
	var list []request
	for _, group := range groups(o) {
		for _, dtype := range o.types {
			for _, s := range group {
				list = append(list, request{s, dtype})
			}
		}
	}
	return list
}

// prepared yields the rows of list in order, each with its operands drawn and its oracle evaluated. The float64 oracle
// costs far more than the operation on a device, so it runs ahead of the loop on all processors; at most two rows a
// processor wait, which bounds the memory. Results do not depend on the number of processors: every row has its own
// random numbers.
func prepared(list []request, o *options, yield func(request, *row) bool) {
	workers := runtime.GOMAXPROCS(0)
	ready := make([]chan *row, len(list))
	for i := range ready {
		ready[i] = make(chan *row, 1)
	}
	next := make(chan int)
	room := make(chan struct{}, 2*workers)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(next)
		for i := range list {
			select {
			case room <- struct{}{}:
			case <-stop:
				return
			}
			select {
			case next <- i:
			case <-stop:
				return
			}
		}
	})
	for range workers {
		wg.Go(func() {
			for i := range next {
				r := list[i].spec.row(list[i].dtype)
				r.shifted = r.shifted && !o.aligned
				r.oracle()
				ready[i] <- r
			}
		})
	}
	defer wg.Wait()
	defer close(stop)
	for i := range list {
		if !yield(list[i], <-ready[i]) {
			return
		}
		<-room
	}
}
