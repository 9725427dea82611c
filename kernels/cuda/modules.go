package cuda

import (
	"embed"
	"fmt"
	"strings"
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

// kernel finds a function, loading its module at the first use: a run touches a fraction of what is embedded.
func (b *Backend) kernel(file, name string, shared int) (Function, error) {
	if f, ok := b.functions[name]; ok && f.shared >= shared {
		return f.f, nil
	}
	m := b.modules[file]
	if m == nil {
		src, err := source(file)
		if err != nil {
			return nil, err
		}
		if m, err = b.driver.Load(file, src); err != nil {
			return nil, fmt.Errorf("cuda: load %s: %w", file, err)
		}
		b.modules[file] = m
	}
	f, err := m.Function(name, shared)
	if err != nil {
		return nil, fmt.Errorf("cuda: kernel %s of %s: %w", name, file, err)
	}
	b.functions[name] = function{f, shared}
	return f, nil
}

type function struct {
	f      Function
	shared int
}
