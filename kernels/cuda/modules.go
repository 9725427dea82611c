package cuda

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed ptx/*.ptx
var ptxFiles embed.FS

// Sources are the embedded PTX modules for compute capability 8.0 and later, by file name without suffix.
func Sources() map[string]string {
	out := map[string]string{}
	entries, err := ptxFiles.ReadDir("ptx")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		b, err := ptxFiles.ReadFile("ptx/" + e.Name())
		if err != nil {
			panic(err)
		}
		out[strings.TrimSuffix(e.Name(), ".sm_80.ptx")] = string(b)
	}
	return out
}

// kernel finds a function, loading its module at the first use: a run touches a fraction of what is embedded.
// Kernels of one file share its name as the map key in kernelFile.
func (b *Backend) kernel(file, name string, shared int) (Function, error) {
	if f, ok := b.functions[name]; ok && f.shared >= shared {
		return f.f, nil
	}
	m := b.modules[file]
	if m == nil {
		src, err := ptxFiles.ReadFile("ptx/" + file + ".sm_80.ptx")
		if err != nil {
			return nil, fmt.Errorf("cuda: no module %q is embedded", file)
		}
		if m, err = b.driver.Load(file, string(src)); err != nil {
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
