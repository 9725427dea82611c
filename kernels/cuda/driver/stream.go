//go:build linux && cgo && !cpu

package driver

//#include "companion.h"
import "C"

import (
	"errors"
	"unsafe"

	"github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/tensor"
)

// Pin reserves page-locked host memory. The error is *tensor.OutOfMemory when the host has no more of it.
func (d *Driver) Pin(bytes int) ([]byte, error) {
	var p unsafe.Pointer
	r := C.dmx_pin(d.ctx, &p, C.size_t(max(bytes, 1)))
	if r == 2 { // the host's memory, not the device's
		return nil, tensor.AllocationFailed(tensor.Host.Device(), bytes, errors.New("the system locks no more host memory for this process"))
	}
	if r != 0 {
		return nil, failure("reserve page-locked host memory", r)
	}
	return unsafe.Slice((*byte)(p), bytes), nil
}

// Unpin gives it back.
func (d *Driver) Unpin(p []byte) error {
	return failure("give page-locked host memory back", C.dmx_unpin(d.ctx, unsafe.Pointer(unsafe.SliceData(p))))
}

// Feed queues a copy from page-locked memory, which lies outside the Go heap: C may keep the pointer. From other
// memory the driver copies before it returns.
func (d *Driver) Feed(s gpu.Stream, dst uint64, src []byte) error {
	return failure("copy to the device", C.dmx_feed(d.ctx, d.streams[s], C.CUdeviceptr(dst), unsafe.Pointer(unsafe.SliceData(src)), C.size_t(len(src))))
}

// event is a CUevent without time stamps.
type event struct {
	d *Driver
	e C.CUevent
}

// NewEvent makes an event.
func (d *Driver) NewEvent() (gpu.Event, error) {
	e := &event{d: d}
	if r := C.dmx_event(d.ctx, &e.e); r != 0 {
		return nil, failure("make an event", r)
	}
	d.events = append(d.events, e)
	return e, nil
}

func (e *event) Record(s gpu.Stream) error {
	return failure("record an event", C.dmx_record(e.d.ctx, e.e, e.d.streams[s]))
}

func (e *event) Follow(s gpu.Stream) error {
	return failure("wait for an event", C.dmx_follow(e.d.ctx, e.e, e.d.streams[s]))
}

func (e *event) Wait() error { return failure("wait for the device", C.dmx_wait(e.d.ctx, e.e)) }
