package gpu

import (
	"strings"
	"testing"
)

func TestTensorMapCheck(t *testing.T) {
	good := TensorMap{Addr: 0x1000, ElemBytes: 2, Cols: 100, Rows: 7, RowBytes: 208, BoxCols: 64, BoxRows: 128, Swizzle: 128}
	for _, c := range []struct {
		name, field string // "" for a sound map
		change      func(m *TensorMap)
	}{
		{"sound", "", func(*TensorMap) {}},
		{"sound f32 without swizzle", "", func(m *TensorMap) { *m = TensorMap{16, 4, 1, 1, 16, 256, 256, 0} }},
		{"element size", "ElemBytes is 8", func(m *TensorMap) { m.ElemBytes = 8 }},
		{"null address", "Addr is 0x0", func(m *TensorMap) { m.Addr = 0 }},
		{"odd address", "Addr is 0x1008", func(m *TensorMap) { m.Addr += 8 }},
		{"no rows", "0 x 100", func(m *TensorMap) { m.Rows = 0 }},
		{"odd row distance", "RowBytes is 204", func(m *TensorMap) { m.RowBytes = 204 }},
		{"short rows", "RowBytes is 192", func(m *TensorMap) { m.RowBytes = 192 }},
		{"tall box", "257 x 64", func(m *TensorMap) { m.BoxRows = 257 }},
		{"odd box", "24 bytes", func(m *TensorMap) { m.BoxCols = 12 }},
		{"swizzle", "Swizzle is 16", func(m *TensorMap) { m.Swizzle = 16 }},
		{"box wider than swizzle", "128 bytes, at most the 64", func(m *TensorMap) { m.Swizzle = 64 }},
	} {
		m := good
		c.change(&m)
		switch err := m.Check(); {
		case c.field == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.field != "" && (err == nil || !strings.Contains(err.Error(), c.field)):
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.field)
		}
	}
}
