//go:build linux && cgo && !cpu

package driver

//#include "companion.h"
//#include "timer.h"
import "C"

import (
	"time"

	"github.com/dino-mx/dmx/kernels/cuda/gpu"
)

// Time returns how long the device takes for what work asks of it: the time between two events around it, to
// half a microsecond. It waits for the second one.
func (d *Driver) Time(work func()) (time.Duration, error) {
	var events [2]C.CUevent
	for i := range events {
		if r := C.dmx_timer_new(d.ctx, &events[i]); r != 0 {
			return 0, failure("create an event", r)
		}
		defer C.dmx_timer_free(d.ctx, events[i])
	}
	if r := C.dmx_record(d.ctx, events[0], d.streams[gpu.Compute]); r != 0 {
		return 0, failure("record an event", r)
	}
	work()
	if r := C.dmx_record(d.ctx, events[1], d.streams[gpu.Compute]); r != 0 {
		return 0, failure("record an event", r)
	}
	var ms C.float
	if r := C.dmx_timer_elapsed(d.ctx, &ms, events[0], events[1]); r != 0 {
		return 0, failure("kernel", r)
	}
	return time.Duration(float64(ms) * float64(time.Millisecond)), nil
}
