package cuda

import (
	"embed"
	"fmt"
	"strings"

	"github.com/dino-mx/dmx/kernels/cuda/gpu"
)

//go:embed ptx/*.ptx
var ptxFiles embed.FS

// Sources are the embedded PTX modules by file name without suffix. Each is compiled once: for compute capability 8.0,
// which every later device runs, or for exactly 9.0 (sm_90a), which those named *_sm90 are.
func Sources() map[string]string {
	out := map[string]string{}
	entries, err := ptxFiles.ReadDir("ptx")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		file, _, _ := strings.Cut(e.Name(), ".")
		if out[file], err = source(file); err != nil {
			panic(err)
		}
	}
	return out
}

// source is the PTX of one module.
func source(file string) (string, error) {
	suffix := ".sm_80.ptx"
	if strings.HasSuffix(file, "_sm90") {
		suffix = ".sm_90a.ptx"
	}
	b, err := ptxFiles.ReadFile("ptx/" + file + suffix)
	if err != nil {
		return "", fmt.Errorf("cuda: no module %q is embedded", file)
	}
	return string(b), nil
}

// library loads modules and finds kernels in them. A module is loaded when its first kernel is used, because a run
// uses a fraction of what is embedded.
type library struct {
	driver    gpu.Driver
	modules   map[string]gpu.Module
	functions map[string]function
}

type function struct {
	f      gpu.Function
	shared int
}

// kernel returns a kernel that may use up to shared bytes of dynamic shared memory.
func (l *library) kernel(file, name string, shared int) (gpu.Function, error) {
	if f, ok := l.functions[name]; ok && f.shared >= shared {
		return f.f, nil
	}
	m := l.modules[file]
	if m == nil {
		src, err := source(file)
		if err != nil {
			return nil, err
		}
		if m, err = l.driver.Load(file, src); err != nil {
			return nil, fmt.Errorf("cuda: load %s: %w", file, err)
		}
		l.modules[file] = m
	}
	f, err := m.Function(name, shared)
	if err != nil {
		return nil, fmt.Errorf("cuda: kernel %s of %s: %w", name, file, err)
	}
	l.functions[name] = function{f, shared}
	return f, nil
}
