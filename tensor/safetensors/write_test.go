package safetensors

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/tensor"
)

func raw(name string, d DType, data []byte, shape ...int) Tensor {
	return Tensor{Name: name, DType: d, Shape: shape, Write: func(w io.Writer) error { _, err := w.Write(data); return err }}
}

// The reference implementation's own byte vectors.
func TestWriteCanonicalBytes(t *testing.T) {
	le := func(n uint64) string { return string(binary.LittleEndian.AppendUint64(nil, n)) }
	tests := []struct {
		name    string
		meta    map[string]string
		tensors []Tensor
		want    string
	}{
		{"empty", nil, nil, le(8) + "{}      "},
		{"metadata only", map[string]string{"framework": "pt"}, nil, le(40) + `{"__metadata__":{"framework":"pt"}}     `},
		{"one tensor", nil, []Tensor{raw("attn0", F32, make([]byte, 24), 1, 1, 2, 3)},
			le(72) + `{"attn0":{"dtype":"F32","shape":[1,1,2,3],"data_offsets":[0,24]}}       ` + strings.Repeat("\x00", 24)},
		{"order: rank, then bytes of the name", nil, []Tensor{raw("b.2", U8, []byte{2}, 1), raw("a", U8, []byte{1}, 1), raw("b.10", U8, []byte{3}, 1), raw("z", F32, []byte("wxyz"), 1)},
			le(240) + `{"z":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[1],"data_offsets":[4,5]},` +
				`"b.10":{"dtype":"U8","shape":[1],"data_offsets":[5,6]},"b.2":{"dtype":"U8","shape":[1],"data_offsets":[6,7]}}` + "PAD" + "wxyz\x01\x03\x02"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := Write(&b, tt.meta, tt.tensors); err != nil {
				t.Fatal(err)
			}
			want := tt.want
			if i := strings.Index(want, "PAD"); i >= 0 {
				pad := (8 - (i-8)%8) % 8
				want = le(uint64(i-8+pad)) + want[8:i] + strings.Repeat(" ", pad) + want[i+3:]
			}
			if diff := cmp.Diff(want, b.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRoundTripThroughShards(t *testing.T) {
	dir := t.TempDir()
	var tensors []Tensor
	want := map[string][]float32{}
	for i, n := range []int{3, 0, 17, 400_000, 5} {
		x := make([]float32, n)
		for j := range x {
			x[j] = float32(i*1000+j) / 7
		}
		name := string(rune('a' + i))
		want[name] = x
		tensors = append(tensors, FromTensor(name, tensor.FromF32(x, n)))
	}
	for _, limit := range []int64{0, 100, 1_000_000} {
		if err := WriteSet(dir, map[string]string{"format": "pt"}, tensors, limit); err != nil {
			t.Fatal(err)
		}
		s, err := OpenSet(dir)
		if err != nil {
			t.Fatal(err)
		}
		if limit == 0 && len(s.Files()) != 1 || limit != 0 && len(s.Files()) < 2 {
			t.Errorf("limit %d made %d files", limit, len(s.Files()))
		}
		dst := map[string]*tensor.Tensor{}
		for n, x := range want {
			dst[n] = tensor.Zeros(tensor.F32, len(x))
		}
		if err := Read(s, dst); err != nil {
			t.Fatal(err)
		}
		for n, x := range want {
			if len(x) > 0 && !cmp.Equal(x, dst[n].F32()) {
				t.Errorf("limit %d: tensor %s differs", limit, n)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// Going back to one file must leave no shard behind.
	if err := WriteSet(dir, nil, tensors, 0); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != ModelFile {
		t.Errorf("left behind: %v", entries)
	}
}

func TestWriteFileKeepsOldOnFailure(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := WriteFile(path, nil, []Tensor{raw("a", U8, []byte{7}, 1)}); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(path)
	bad := []Tensor{raw("a", U8, []byte{1, 2}, 1), raw("b", U8, nil, 1)}
	if err := WriteFile(path, nil, bad); err == nil || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("a tensor with too many bytes gave %v", err)
	}
	after, _ := os.ReadFile(path)
	if !bytes.Equal(before, after) {
		t.Error("the old file changed")
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("temporary files left: %v", entries)
	}
	if err := WriteFile(path, nil, []Tensor{raw("a", U8, []byte{1}, 1), raw("a", U8, []byte{1}, 1)}); err == nil {
		t.Error("a duplicate name was written")
	}
}
