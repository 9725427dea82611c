package pth

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/tensor/alloctest"
	"github.com/dino-mx/dmx/tensor/safetensors"
)

// What torch.save wrote, strided views and all.
func TestReadsTorchFile(t *testing.T) {
	f, err := Open("testdata/nested.pth")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	raw, err := os.ReadFile("testdata/nested.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]struct {
		Shape  []int
		Values []float64
	}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, info := range f.Tensors() {
		w, ok := want[info.Name]
		if !ok {
			if !strings.HasPrefix(info.Name, "optimizer.") {
				t.Errorf("unexpected %s", info)
			}
			continue
		}
		seen++
		if !info.Shape.Equal(w.Shape) {
			t.Errorf("%s has shape %s, want %v", info.Name, info.Shape, w.Shape)
		}
		if info.DType == safetensors.I64 {
			b := make([]byte, info.NumBytes())
			if err := f.Raw(info.Name, 0, b); err != nil {
				t.Fatal(err)
			}
			for i, v := range w.Values {
				if int64(little(b[8*i:8*i+8])) != int64(v) {
					t.Errorf("%s[%d] differs", info.Name, i)
				}
			}
			continue
		}
		x, err := safetensors.ReadTensor(f, info.Name)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range w.Values {
			if x.At(i) != v {
				t.Errorf("%s[%d] = %v, want %v", info.Name, i, x.At(i), v)
			}
		}
	}
	if seen != len(want) {
		t.Errorf("%d of %d tensors found", seen, len(want))
	}
	skipped := map[string]string{}
	for _, s := range f.Skipped() {
		skipped[s.Name] = s.Why
	}
	for name, why := range map[string]string{"args": "an object of type argparse.Namespace", "epoch": "the number 12", "big": "a large integer", "none": "None"} {
		if skipped[name] != why {
			t.Errorf("%s was skipped as %q, want %q", name, skipped[name], why)
		}
	}
}

func TestProtocol4(t *testing.T) {
	f, err := Open("testdata/protocol4.pth")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var got []string
	for _, i := range f.Tensors() {
		got = append(got, i.String())
	}
	if diff := cmp.Diff([]string{"w F32[4 6]", "t F32[6 4]"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestRefusesFiles(t *testing.T) {
	for _, tt := range []struct{ file, want string }{
		{"legacy.pth", "before version 1.6"},
		{"evil.pth", "posix.system, which is not on the list"},
		{"nested.json", "not a zip"},
	} {
		_, err := Open("testdata/" + tt.file)
		if err == nil || !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.file) {
			t.Errorf("%s: %v, want %q", tt.file, err, tt.want)
		}
	}
}

type zipMember struct {
	name, content string
	method        uint16
}

func zipOf(members ...zipMember) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, m := range members {
		w, err := z.CreateHeader(&zip.FileHeader{Name: m.name, Method: m.method})
		if err == nil {
			_, err = io.WriteString(w, m.content)
		}
		if err != nil {
			panic(err)
		}
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// tensorPickle is {"w": tensor} in protocol 2, with the given element count, offset, shape and strides.
func tensorPickle(numel, offset, shape, stride string) string {
	return "\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n(" +
		"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + numel + "tQ" +
		offset + shape + stride + "\x89}tRs."
}

func TestRefusesPickles(t *testing.T) {
	store := func(content string) []zipMember {
		return []zipMember{{"a/data.pkl", content, zip.Store}, {"a/data/0", strings.Repeat("\x00", 24), zip.Store}}
	}
	good := tensorPickle("K\x06", "K\x00", "K\x02K\x03\x86", "K\x03K\x01\x86")
	tests := []struct {
		name    string
		members []zipMember
		want    string
	}{
		{"good", store(good), ""},
		{"storage longer than its member", store(tensorPickle("K\x07", "K\x00", "K\x02\x85", "K\x01\x85")), "claims the number 7 of F32"},
		{"offset past the end", store(tensorPickle("K\x06", "K\x05", "K\x02\x85", "K\x01\x85")), "reaches past"},
		{"stride past the end", store(tensorPickle("K\x06", "K\x00", "K\x02K\x03\x86", "K\x06K\x01\x86")), "reaches past"},
		{"expanded", store(tensorPickle("K\x06", "K\x00", "J\x00\x00\x00\x7fK\x03\x86", "K\x00K\x01\x86")), "larger than its storage"},
		{"negative shape", store(tensorPickle("K\x06", "K\x00", "J\xff\xff\xff\xff\x85", "K\x01\x85")), "shape [-1]"},
		{"negative offset", store(tensorPickle("K\x06", "J\xff\xff\xff\xff", "K\x01\x85", "K\x01\x85")), "offset"},
		{"rank and strides differ", store(tensorPickle("K\x06", "K\x00", "K\x02K\x03\x86", "K\x01\x85")), "2 dimensions and 1 strides"},
		{"no storage", store(strings.Replace(good, "X\x01\x00\x00\x000", "X\x01\x00\x00\x009", 1)), `storage "9" is not in the archive`},
		{"eval", store("\x80\x02c__builtin__\neval\nX\x01\x00\x00\x001\x85R."), "__builtin__.eval, which is not on the list"},
		{"hidden by the stack", store("\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x01x\x85R."), "posix.system"},
		{"getattr trick", store("\x80\x02cbuiltins\ngetattr\n(}X\x01\x00\x00\x00atR."), "builtins.getattr"},
		{"empty stack", store("\x80\x020."), "stack is empty"},
		{"cut", store("\x80\x02}X\xff\xff\xff\xff"), "ends in the middle"},
		{"memo never stored", store("\x80\x02h\x05."), "never stored"},
		{"odd dictionary", store("\x80\x02}(K\x01u."), "without a value"},
		{"unknown opcode", store("\x80\x02\xfe."), "opcode 0xfe"},
		{"cyclic", store("\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s."), "nested more than"},
		{"compressed", []zipMember{{"a/data.pkl", good, zip.Deflate}}, "is compressed"},
		{"compressed storage", []zipMember{{"a/data.pkl", good, zip.Store}, {"a/data/0", strings.Repeat("\x00", 24), zip.Deflate}}, "is compressed"},
		{"no pickle", []zipMember{{"a/x", "", zip.Store}}, "no data.pkl"},
		{"big endian", append(store(good), zipMember{"a/byteorder", "big", zip.Store}), `byte order "big"`},
		{"storage twice", append(store(good), zipMember{"a/data/0", "x", zip.Store}), "occurs twice"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := zipOf(tt.members...)
			f, err := NewFile("x.pth", bytes.NewReader(b), int64(len(b)))
			if tt.want == "" {
				if err != nil || len(f.Tensors()) != 1 {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			if err == nil || !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// Values are stored once and referred to often: a short pickle can name more entries, and longer names, than memory
// holds.
func TestRefusesUnfolding(t *testing.T) {
	shared := "\x80\x02}q\x000"
	for level := range 30 {
		shared += fmt.Sprintf("}(X\x01\x00\x00\x00ah%cX\x01\x00\x00\x00bh%cuq%c0", level, level, level+1)
	}
	shared += fmt.Sprintf("h%c.", 30)

	// {"a": {key: None, key: None, …}} with one key of 64 KiB.
	long := "\x80\x02X\x00\x00\x01\x00" + strings.Repeat("k", 1<<16) + "q\x000}(X\x01\x00\x00\x00a}(" + strings.Repeat("h\x00N", 20000) + "uu."

	wide := "\x80\x02(" + strings.Repeat("N", 1000) + "tq\x000](" + strings.Repeat("h\x00", 1000) + "e."
	for _, tt := range []struct{ name, pickle, want string }{
		{"exponential sharing", shared, "too long together"},
		{"quadratic sharing", wide, "more entries than"},
		{"long names", long, "too long together"},
	} {
		b := zipOf(zipMember{"a/data.pkl", tt.pickle, zip.Store})
		var err error
		alloctest.Limit(t, len(b), 4<<20, 512, func() { _, err = NewFile("x.pth", bytes.NewReader(b), int64(len(b))) })
		if err == nil || !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func FuzzPickle(f *testing.F) {
	f.Add([]byte(tensorPickle("K\x06", "K\x00", "K\x02K\x03\x86", "K\x03K\x01\x86")))
	f.Add([]byte("\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94K\x01u."))
	f.Add([]byte("\x80\x02ccollections\nOrderedDict\n)Rq\x00(X\x01\x00\x00\x00aG\x00\x00\x00\x00\x00\x00\x00\x00u}b."))
	f.Fuzz(func(t *testing.T, pickle []byte) {
		b := zipOf(zipMember{"a/data.pkl", string(pickle), zip.Store}, zipMember{"a/data/0", strings.Repeat("\x01", 24), zip.Store})
		readAll(t, b)
	})
}

func FuzzZip(f *testing.F) {
	f.Add(zipOf(zipMember{"a/data.pkl", tensorPickle("K\x06", "K\x00", "K\x02K\x03\x86", "K\x01K\x02\x86"), zip.Store},
		zipMember{"a/data/0", strings.Repeat("\x01", 24), zip.Store}))
	f.Fuzz(readAll)
}

func readAll(t *testing.T, b []byte) {
	var file *File
	var err error
	alloctest.Limit(t, len(b), 4<<20, 512, func() { file, err = NewFile("x.pth", bytes.NewReader(b), int64(len(b))) })
	if err != nil {
		if !errors.Is(err, ErrFormat) {
			t.Fatalf("unnamed error %v", err)
		}
		return
	}
	for _, i := range file.Tensors() {
		if i.NumBytes() > int64(len(b)) {
			t.Fatalf("%s is larger than the file of %d bytes", i, len(b))
		}
		dst := make([]byte, i.NumBytes())
		_ = file.Raw(i.Name, 0, dst) // may fail, must not panic
	}
}
