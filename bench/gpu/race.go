package main

import (
	"time"

	"github.com/dino-mx/dmx/bench/peer"
)

// contestant runs one case.
type contestant interface {
	// sample runs the case n times and returns the nanoseconds of each.
	sample(n int) ([]float64, error)
}

// window is how long a contestant runs in one turn, most the largest number of repeats of a turn.
const (
	window = 20 * time.Millisecond
	most   = 20
)

// race lets the contestants take turns and returns the median nanoseconds of each.
func race(rounds int, contestants ...contestant) ([]float64, error) {
	times := make([][]float64, len(contestants))
	repeats := make([]int, len(contestants))
	for i, c := range contestants {
		if _, err := c.sample(1); err != nil { // loads and compiles what it needs
			return nil, err
		}
		once, err := c.sample(1)
		if err != nil {
			return nil, err
		}
		repeats[i] = min(most, max(1, int(float64(window.Nanoseconds())/max(once[0], 1))))
	}
	for range rounds {
		for i, c := range contestants {
			ns, err := c.sample(repeats[i])
			if err != nil {
				return nil, err
			}
			times[i] = append(times[i], ns...)
		}
	}
	medians := make([]float64, len(contestants))
	for i, t := range times {
		medians[i] = peer.Median(t)
	}
	return medians, nil
}

// ours is work on our side.
type ours struct {
	gpu  *gpu
	work func()
}

func (o ours) sample(n int) ([]float64, error) {
	ns := make([]float64, n)
	for i := range ns {
		var err error
		if ns[i], err = o.gpu.sample(o.work); err != nil {
			return nil, err
		}
	}
	return ns, nil
}
