//go:build linux && cgo && !cpu

package driver

//#include "companion.h"
//#include <stdlib.h>
import "C"

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/dino-mx/dmx/kernels/cuda/driver/stubs"
	"github.com/dino-mx/dmx/kernels/cuda/gpu"
)

// Count is the number of GPUs; the error says why there is none.
func Count() (int, error) {
	if err := stubs.Open(); err != nil {
		return 0, err
	}
	n, err := cu.NumDevices()
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, errors.New("the NVIDIA driver found no GPU")
	}
	return n, nil
}

// Driver is one GPU, by its primary context, with streams of its own.
type Driver struct {
	ctx     C.CUcontext
	device  cu.Device
	info    gpu.Info
	streams [gpu.Streams]C.CUstream
	events  []*event
}

var _ gpu.Driver = (*Driver)(nil)

// Open prepares GPU number index.
func Open(index int) (gpu.Driver, error) {
	n, err := Count()
	if err != nil {
		return nil, err
	}
	if index < 0 || index >= n {
		return nil, fmt.Errorf("cuda:%d: there are %d GPUs, cuda:0 to cuda:%d", index, n, n-1)
	}
	dev := cu.Device(index)
	d := &Driver{device: dev}
	name, err := dev.Name()
	if err != nil {
		return nil, err
	}
	total, err := dev.TotalMem()
	if err != nil {
		return nil, err
	}
	d.info = gpu.Info{Name: name, Index: index, TotalMemory: int(total), DriverVersion: cu.Version()}
	// Numbers of CUdevice_attribute.
	for attr, to := range map[int]*int{75: &d.info.Major, 76: &d.info.Minor, 16: &d.info.SMs, 97: &d.info.SharedPerBlock, 13: &d.info.ClockKHz,
		36: &d.info.MemoryClockKHz, 37: &d.info.MemoryBusBits, 38: &d.info.L2Bytes, 39: &d.info.MaxThreadsPerSM} {
		if *to, err = dev.Attribute(cu.DeviceAttribute(attr)); err != nil {
			return nil, fmt.Errorf("cuda:%d: attribute %d: %w", index, attr, err)
		}
	}
	if d.info.Major < 8 {
		return nil, fmt.Errorf("cuda:%d: %s has compute capability %d.%d; dmx needs 8.0 (Ampere) or later: use --device cpu", index, name, d.info.Major, d.info.Minor)
	}
	if d.info.DriverVersion < oldestDriver {
		return nil, fmt.Errorf("cuda:%d: the NVIDIA driver speaks CUDA %s; dmx needs %s (driver 545) or later: update the driver, or use --device cpu",
			index, versionText(d.info.DriverVersion), versionText(oldestDriver))
	}
	if r := C.cuDevicePrimaryCtxRetain(&d.ctx, C.CUdevice(index)); r != 0 {
		return nil, failure(fmt.Sprintf("cuda:%d: retain the primary context", index), r)
	}
	if r := C.dmx_streams(d.ctx, &d.streams[0], C.int(gpu.Streams)); r != 0 {
		return nil, errors.Join(failure(fmt.Sprintf("cuda:%d: make streams", index), r), d.device.ReleasePrimaryCtx())
	}
	return d, nil
}

// oldestDriver is the first CUDA version whose driver reads the PTX that is embedded (ISA 8.3), as
// cuDriverGetVersion spells it.
const oldestDriver = 12030

func versionText(v int) string { return fmt.Sprintf("%d.%d", v/1000, v%1000/10) }

// outOfResources says that a launch wants more registers than there are; nothing has run, unlike after the codes around it.
const outOfResources = 701

// failure is the error of a driver call, in the terms of gpu.Driver.
func failure(what string, r C.CUresult) error {
	if r == 0 {
		return nil
	}
	text := fmt.Sprintf("%s: %s (%d)", what, C.GoString(C.dmx_error(r)), int(r))
	switch {
	case r == 2:
		return fmt.Errorf("%s: %w", text, gpu.ErrOutOfMemory)
	// What a running kernel can end with: 214 an uncorrectable memory error, 700 to 720 faults of its own, 999 unknown.
	case r == 214 || r >= 700 && r <= 720 && r != outOfResources || r == 999:
		return fmt.Errorf("%w: %s", gpu.ErrFault, text)
	}
	return errors.New(text)
}

// Info describes the device.
func (d *Driver) Info() gpu.Info { return d.info }

type module struct {
	d *Driver
	m C.CUmodule
}

// Load compiles a PTX module for the device (the driver keeps the result in its cache on disk).
func (d *Driver) Load(name, ptx string) (gpu.Module, error) {
	src := C.CString(ptx)
	defer C.free(unsafe.Pointer(src))
	const logBytes = 8 << 10
	log := (*C.char)(C.calloc(1, logBytes))
	defer C.free(unsafe.Pointer(log))
	m := &module{d: d}
	if r := C.dmx_load(d.ctx, &m.m, src, log, logBytes); r != 0 {
		return nil, fmt.Errorf("%w %s", failure("compile "+name, r), strings.TrimSpace(C.GoString(log)))
	}
	return m, nil
}

// Function finds a kernel and allows it shared bytes of dynamic shared memory.
func (m *module) Function(name string, shared int) (gpu.Function, error) {
	s := C.CString(name)
	defer C.free(unsafe.Pointer(s))
	var f C.CUfunction
	if r := C.dmx_function(m.d.ctx, &f, m.m, s, C.int(shared)); r != 0 {
		return nil, failure(fmt.Sprintf("kernel %s with %d bytes of shared memory", name, shared), r)
	}
	return f, nil
}

// Alloc reserves device memory.
func (d *Driver) Alloc(bytes int) (uint64, error) {
	var p C.CUdeviceptr
	r := C.dmx_alloc(d.ctx, &p, C.size_t(bytes))
	return uint64(p), failure("allocate", r)
}

// Free gives device memory back.
func (d *Driver) Free(addr uint64) error {
	return failure("free", C.dmx_free(d.ctx, C.CUdeviceptr(addr)))
}

// Memory tells the free and the total bytes.
func (d *Driver) Memory() (free, total int) {
	var f, t C.size_t
	if C.dmx_memory(d.ctx, &f, &t) != 0 {
		return -1, d.info.TotalMemory
	}
	return int(f), int(t)
}

// CopyIn copies host bytes to the device and waits.
func (d *Driver) CopyIn(dst uint64, src []byte) error {
	return failure("copy to the device", C.dmx_copy_in(d.ctx, d.streams[gpu.Compute], C.CUdeviceptr(dst), unsafe.Pointer(unsafe.SliceData(src)), C.size_t(len(src))))
}

// CopyOut copies device bytes to the host and waits.
func (d *Driver) CopyOut(dst []byte, src uint64) error {
	return failure("copy from the device", C.dmx_copy_out(d.ctx, d.streams[gpu.Compute], unsafe.Pointer(unsafe.SliceData(dst)), C.CUdeviceptr(src), C.size_t(len(dst))))
}

// Copy copies bytes inside the device, in the order of the launches.
func (d *Driver) Copy(dst, src uint64, bytes int) error {
	return failure("copy on the device", C.dmx_copy(d.ctx, d.streams[gpu.Compute], C.CUdeviceptr(dst), C.CUdeviceptr(src), C.size_t(bytes)))
}

// TensorMap encodes a matrix for the bulk copy engine.
func (d *Driver) TensorMap(m gpu.TensorMap) (out [128]byte, err error) {
	if err := m.Check(); err != nil {
		return out, err
	}
	return d.encode(m)
}

// encode is TensorMap without checks of its own.
func (d *Driver) encode(m gpu.TensorMap) (out [128]byte, err error) {
	// Numbers of CUtensorMapDataType and CUtensorMapSwizzle.
	types := map[int]C.uint{2: 9, 4: 7}
	swizzles := map[int]C.uint{0: 0, 32: 1, 64: 2, 128: 3}
	dims := [2]C.ulonglong{C.ulonglong(m.Cols), C.ulonglong(m.Rows)}
	box := [2]C.uint{C.uint(m.BoxCols), C.uint(m.BoxRows)}
	r := C.dmx_tensor_map(d.ctx, unsafe.Pointer(&out), types[m.ElemBytes], C.CUdeviceptr(m.Addr), &dims[0], C.ulonglong(m.RowBytes), &box[0], swizzles[m.Swizzle])
	return out, failure("encode a tensor map", r)
}

// Launch queues a kernel.
func (d *Driver) Launch(l *gpu.Launch) error {
	s := shape(l)
	f := l.Function.(C.CUfunction)
	r := C.dmx_launch(d.ctx, d.streams[gpu.Compute], f, &s[0], chars(l.Args), uints(l.Params), C.int(len(l.Params)))
	if r != 0 {
		return failure("launch", r)
	}
	return nil
}

// chars and uints are the memory of a slice as C takes it.
func chars(b []byte) *C.char   { return (*C.char)(unsafe.Pointer(unsafe.SliceData(b))) }
func uints(v []uint32) *C.uint { return (*C.uint)(unsafe.SliceData(v)) }

// Sync waits for all work and returns the first fault of a kernel.
func (d *Driver) Sync() error { return failure("kernel", C.dmx_sync(d.ctx)) }

// Close destroys events and streams and lets go of the primary context.
func (d *Driver) Close() error {
	var errs []error
	for _, e := range d.events {
		errs = append(errs, failure("destroy an event", C.dmx_event_close(d.ctx, e.e)))
	}
	errs = append(errs, failure("destroy the streams", C.dmx_close(d.ctx, &d.streams[0], C.int(gpu.Streams))), d.device.ReleasePrimaryCtx())
	return errors.Join(errs...)
}
