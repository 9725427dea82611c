package safetensors

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/dino-mx/dmx/tensor"
)

// Source is anything that tensors can be read from by name: a File, a Set of shards, or a converted checkpoint.
type Source interface {
	// Tensors lists what there is.
	Tensors() []Info
	// Raw reads stored bytes of one tensor, from byte off of the tensor on.
	Raw(name string, off int64, dst []byte) error
}

// Read fills host tensors from the source, converting among the float types (round to nearest even) and widening
// integers where the types differ. Lengths must agree; shapes are the caller's business. The data is divided among the
// processors in chunks, not in tensors, so that one large tensor loads as fast as many small ones. Besides the
// destinations it needs one scratch buffer for each worker.
func Read(src Source, dst map[string]*tensor.Tensor) error { return read(src, dst, false) }

func read(src Source, dst map[string]*tensor.Tensor, finite bool) error {
	var jobs []readJob
	found := 0
	for _, t := range src.Tensors() {
		d, ok := dst[t.Name]
		if !ok {
			continue
		}
		found++
		conv, err := converter(t.DType, d.DType())
		if err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if want, err := byteSize(t.DType, d.Shape()); err != nil || want != t.NumBytes() {
			return fmt.Errorf("tensor %q: stored as %s%s, wanted as %s%s", t.Name, t.DType, t.Shape, d.DType(), d.Shape())
		}
		for lo := 0; lo < d.Len(); {
			hi := chunkEnd(d, lo)
			jobs = append(jobs, readJob{info: t, dst: d, conv: conv, lo: lo, hi: hi, check: finite})
			lo = hi
		}
	}
	if found != len(dst) {
		have := map[string]bool{}
		for _, t := range src.Tensors() {
			have[t.Name] = true
		}
		for _, name := range slices.Sorted(maps.Keys(dst)) {
			if !have[name] {
				return fmt.Errorf("no tensor %q", name)
			}
		}
	}
	return runJobs(src, jobs)
}

// ReadTensor reads one tensor in the in-memory type that holds its values exactly.
func ReadTensor(src Source, name string) (*tensor.Tensor, error) {
	for _, t := range src.Tensors() {
		if t.Name != name {
			continue
		}
		native, ok := t.DType.Native()
		if !ok {
			return nil, fmt.Errorf("tensor %q: %s elements have no in-memory type", name, t.DType)
		}
		out, err := tensor.New(tensor.Host, native, t.Shape...)
		if err != nil {
			return nil, err
		}
		return out, Read(src, map[string]*tensor.Tensor{name: out})
	}
	return nil, fmt.Errorf("no tensor %q", name)
}

const (
	// chunkBytes is the size of a huge page. The system clears a page when it is first touched. A chunk that begins
	// and ends with the page finds the cleared page in the cache, and no other worker waits for it.
	chunkBytes = 2 << 20
	// scratchBytes fit the L2 cache together with the converted values.
	scratchBytes = 256 << 10
)

// chunkEnd returns the index of the first element behind the chunk that begins at element lo of a tensor.
func chunkEnd(d *tensor.Tensor, lo int) int {
	size := d.DType().Size()
	at := uintptr(unsafe.Pointer(unsafe.SliceData(d.Bytes()))) + uintptr(lo*size)
	return min(d.Len(), lo+max(1, (chunkBytes-int(at%chunkBytes))/size))
}

type readJob struct {
	info   Info
	dst    *tensor.Tensor // nil: the tensor is only checked
	conv   convertFunc    // nil: the bytes are the same
	lo, hi int            // elements
	check  bool           // whether values that are not finite are an error
}

func (j readJob) run(src Source, scratch []byte) error {
	elem := j.info.DType.Bits() / 8
	if j.dst != nil && j.conv == nil {
		raw := j.dst.Bytes()[j.lo*elem : j.hi*elem]
		err := src.Raw(j.info.Name, int64(j.lo)*int64(elem), raw)
		if err == nil && j.check {
			err = j.checkFinite(j.lo, raw, j.info.DType)
		}
		return err
	}
	for lo := j.lo; lo < j.hi; lo += len(scratch) / elem {
		raw := scratch[:min(len(scratch)/elem, j.hi-lo)*elem]
		if err := src.Raw(j.info.Name, int64(lo)*int64(elem), raw); err != nil {
			return err
		}
		made, d := raw, j.info.DType
		if j.dst != nil {
			if err := j.conv(j.dst, lo, raw); err != nil {
				return fmt.Errorf("tensor %q: %w", j.info.Name, err)
			}
			// The narrower side has what can overflow, and fewer bytes to look at.
			if size := j.dst.DType().Size(); size < elem {
				d = Of(j.dst.DType())
				made = j.dst.Bytes()[lo*size : (lo+len(raw)/elem)*size]
			}
		}
		if j.check {
			if err := j.checkFinite(lo, made, d); err != nil {
				return err
			}
		}
	}
	return nil
}

func runJobs(src Source, jobs []readJob) error {
	workers := min(runtime.GOMAXPROCS(0), len(jobs))
	var next atomic.Int64
	errs := make([]error, len(jobs))
	var failed atomic.Bool
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			var scratch []byte
			for !failed.Load() {
				i := int(next.Add(1)) - 1
				if i >= len(jobs) {
					return
				}
				if (jobs[i].conv != nil || jobs[i].dst == nil) && scratch == nil {
					scratch = make([]byte, scratchBytes)
				}
				if errs[i] = jobs[i].run(src, scratch); errs[i] != nil {
					failed.Store(true)
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
