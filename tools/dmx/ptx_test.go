package main

import (
	"bytes"
	_ "embed"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sbinet/npyio"

	"github.com/dino-mx/dmx/tensor"
)

// scalePTX multiplies n floats by a number, one thread each. It is the README's example.
//
//go:embed testdata/scale.ptx
var scalePTX string

// reversePTX turns 64 numbers around through shared memory; without its barrier one warp may read before the other has
// written. Its accesses to shared memory are two words apart, so that two lanes meet in every bank.
const reversePTX = `.version 8.3
.target sm_80
.address_size 64
.shared .align 4 .b8 box[512];
.visible .entry reverse(.param .u64 out, .param .u64 in)
{
	.reg .b32 %r<8>;
	.reg .b64 %rd<6>;
	ld.param.u64 %rd1, [out];
	ld.param.u64 %rd2, [in];
	mov.u32 %r1, %tid.x;
	mul.wide.u32 %rd3, %r1, 4;
	add.s64 %rd4, %rd2, %rd3;
	ld.global.u32 %r2, [%rd4];
	mov.u32 %r3, box;
	mad.lo.s32 %r4, %r1, 8, %r3;
	st.shared.u32 [%r4], %r2;
	bar.sync 0;
	sub.s32 %r5, 63, %r1;
	mad.lo.s32 %r6, %r5, 8, %r3;
	ld.shared.u32 %r7, [%r6];
	add.s64 %rd5, %rd1, %rd3;
	st.global.u32 [%rd5], %r7;
	ret;
}
`

// ptxFile writes a file into a fresh folder and returns its path.
func ptxFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPTXCheck(t *testing.T) {
	path := ptxFile(t, "both.ptx", scalePTX+strings.Replace(reversePTX[strings.Index(reversePTX, ".shared"):], "box[512]", "box[768]", 1))
	code, out, errOut := dmx(t, "ptx", "check", path)
	want := path + `: good; PTX 8.3 for sm_80, 2 kernels

` + path + `:4: kernel scale, 15 instructions
  parameter 0   .u64     x
  parameter 1   .f32     a
  parameter 2   .u32     n
  registers     1 of 2 .pred, 3 of 4 .f32, 5 of 6 .b32, 3 of 4 .b64 (used of declared, per thread)
  shared memory 0 bytes
  threads       at most 256

` + path + `:29: kernel reverse, 16 instructions
  parameter 0   .u64     out
  parameter 1   .u64     in
  registers     7 of 8 .b32, 5 of 6 .b64 (used of declared, per thread)
  shared memory 768 bytes
`
	if code != 0 || errOut != "" {
		t.Fatalf("code %d: %s", code, errOut)
	}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
	bad := ptxFile(t, "bad.ptx", strings.NewReplacer("mul.f32", "mull.f32", "[a]", "[b]").Replace(scalePTX))
	code, _, errOut = dmx(t, "ptx", "check", bad)
	wantErr := bad + ":12: ld.param.f32: unknown symbol \"b\"\n" + bad + ":23: mull.f32: the instruction is not known to the interpreter\ndmx: " + bad + ": 2 mistakes\n"
	if code != 1 {
		t.Errorf("code %d, want 1", code)
	}
	if diff := cmp.Diff(wantErr, errOut); diff != "" {
		t.Error(diff)
	}
}

func TestPTXRun(t *testing.T) {
	path := ptxFile(t, "scale.ptx", scalePTX)
	result := filepath.Join(t.TempDir(), "x.npy")
	code, out, errOut := dmx(t, "ptx", "run", path, "--block", "256", "--grid", "4", "--arg", "buf:f32:25x40=iota", "--arg", "f32:0.5", "--arg", "u32:999", "--print", "4", "--out", "0="+result)
	if code != 0 || errOut != "" {
		t.Fatalf("code %d: %s", code, errOut)
	}
	// Element 0 stays 0 and element 999 is not reached.
	want := `kernel scale, 4 x 1 x 1 blocks of 256 x 1 x 1 threads, 0 bytes of shared memory
3 schedules, 480 warp instructions, 0 findings
argument 0, f32[25 40], 998 of 1000 elements changed
  0 0.5 1 1.5 …
argument 0 written to ` + result + "\n"
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
	f, err := os.Open(result)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := npyio.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var got []float32
	if err := r.Read(&got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{25, 40}, r.Header.Descr.Shape); diff != "" {
		t.Error(diff)
	}
	for i, v := range got {
		if w := float32(i) / 2; i < 999 && v != w || i == 999 && v != 999 {
			t.Fatalf("element %d is %v", i, v)
		}
	}
	// The result is input again, and what nobody wrote is a finding.
	if code, _, errOut := dmx(t, "ptx", "run", path, "--block", "256", "--grid", "4", "--arg", "buf:f32=@"+result, "--arg", "f32:2", "--arg", "u32:1000"); code != 0 {
		t.Errorf("code %d: %s", code, errOut)
	}
	code, _, errOut = dmx(t, "ptx", "run", path, "--block", "256", "--grid", "4", "--arg", "buf:f32:1000", "--arg", "f32:2", "--arg", "u32:1000")
	if code != 1 || !strings.Contains(errOut, path+":22: uninitialised read in ld.global.f32 (schedule 1): block (") || !strings.Contains(errOut, "kernel scale: 1 finding") {
		t.Errorf("code %d: %s", code, errOut)
	}
}

func TestPTXRunFindsTheMissingBarrier(t *testing.T) {
	args := []string{"--block", "64", "--arg", "buf:i32:64", "--arg", "buf:i32:64=iota", "--seeds", "10", "--print", "2"}
	sound := ptxFile(t, "reverse.ptx", reversePTX)
	code, out, errOut := dmx(t, append([]string{"ptx", "run", sound}, args...)...)
	if code != 0 || !strings.Contains(out, "argument 0, i32[64], 64 of 64 elements written\n  63 62 …\n") {
		t.Errorf("code %d: %s%s", code, out, errOut)
	}
	faulty := ptxFile(t, "faulty.ptx", strings.Replace(reversePTX, "bar.sync 0;", "", 1))
	code, out, errOut = dmx(t, append([]string{"ptx", "run", faulty, "--out", "0=" + filepath.Join(t.TempDir(), "x.bin")}, args...)...)
	if code != 1 || !strings.Contains(errOut, faulty+":21: race in ld.shared.u32 (schedule ") && !strings.Contains(errOut, faulty+":21: uninitialised read in ld.shared.u32 (schedule ") {
		t.Errorf("code %d: %s", code, errOut)
	}
	if strings.Contains(out, "written to") {
		t.Errorf("the memory after a mistake was written: %s", out)
	}
}

func TestPTXStats(t *testing.T) {
	path := ptxFile(t, "reverse.ptx", reversePTX)
	code, out, errOut := dmx(t, "ptx", "stats", path, "--block", "64", "--arg", "buf:u32:64", "--arg", "buf:u32:64=rand")
	want := `kernel reverse, 1 x 1 x 1 blocks of 64 x 1 x 1 threads, 512 bytes of shared memory
32 warp instructions
  class             instructions     %  executed     %
  integer                      6  37.5        12  37.5
  convert and move             2  12.5         4  12.5
  global memory                2  12.5         4  12.5
  shared memory                2  12.5         4  12.5
  parameters                   2  12.5         4  12.5
  synchronise                  1   6.2         2   6.2
  control                      1   6.2         2   6.2
global memory: 4 requests, 512 bytes, 4.00 sectors of 32 bytes per request, least possible 4.00
shared memory: 4 requests, 2.00 bank cycles per request, least possible 1.00
more than the least possible, per execution:
` + table2(path) + ""
	if code != 0 || errOut != "" {
		t.Fatalf("code %d: %s", code, errOut)
	}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
	code, out, errOut = dmx(t, "ptx", "stats", path)
	if code != 0 || !strings.HasPrefix(out, path+":5: kernel reverse, 16 instructions\n") || strings.Contains(out, "executed") {
		t.Errorf("code %d: %s%s", code, out, errOut)
	}
}

// table2 is the list of the two accesses of reversePTX that need more than they should.
func table2(path string) string {
	var b bytes.Buffer
	table(&b, []string{"where", "instruction", "executed", "used", "least", "of"}, [][]string{
		{path + ":17", "st.shared.u32", "2", "2.00", "1.00", "bank cycles"},
		{path + ":21", "ld.shared.u32", "2", "2.00", "1.00", "bank cycles"},
	})
	return b.String()
}

func TestPTXMistakes(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	scale, reverse := write("scale.ptx", []byte(scalePTX)), write("reverse.ptx", []byte(reversePTX))
	both := write("both.ptx", []byte(scalePTX+strings.ReplaceAll(reversePTX[strings.Index(reversePTX, ".shared"):], "box", "crate")))
	floats := binary.LittleEndian.AppendUint32(nil, math.Float32bits(1))
	goodNPY := write("good.npy", npyArray("<f4", []int{1}, floats))
	doubles := write("doubles.npy", npyArray("<f8", []int{1}, append(floats, floats...)))
	short := write("short.npy", npyArray("<f4", []int{2}, floats))
	huge := write("huge.npy", npyArray("<f4", []int{1 << 30, 1 << 30}, floats))
	odd := write("odd.bin", []byte{1, 2, 3})
	garbage := write("garbage.npy", []byte("not an array"))
	run := func(args ...string) []string { return append([]string{"ptx", "run", scale, "--block", "32"}, args...) }
	with := func(buffer string, more ...string) []string {
		return run(append([]string{"--arg", buffer, "--arg", "f32:1", "--arg", "u32:1"}, more...)...)
	}
	for _, c := range []struct {
		args []string
		code int
		err  string
	}{
		{[]string{"ptx", "check", filepath.Join(dir, "none.ptx")}, 1, "none.ptx: no such file"},
		{[]string{"ptx", "check", dir}, 1, dir},
		{[]string{"ptx", "check", odd}, 1, "odd.bin:1: "},
		{[]string{"ptx", "check", write("empty.ptx", []byte(".version 8.3\n.target sm_80\n"))}, 1, "no kernel: expected at least one .entry"},
		{[]string{"ptx", "run", both, "--block", "32"}, 2, "--kernel: " + both + " has 2 kernels: choose one of scale, reverse"},
		{[]string{"ptx", "run", both, "--kernel", "scales", "--block", "32"}, 2, "has no kernel scales; it has scale, reverse"},
		{[]string{"ptx", "run", scale}, 2, "--block: expected the threads per block"},
		{[]string{"ptx", "run", scale, "--block", "0"}, 2, "--block: 0: expected 1 to 1024"},
		{[]string{"ptx", "run", scale, "--block", "257"}, 2, "--block: [257]: at most 256 in all"},
		{[]string{"ptx", "run", reverse, "--block", "32,64"}, 2, "--block: [32 64]: at most 1024 in all"},
		{[]string{"ptx", "run", scale, "--block", "1,1,1,1"}, 2, "--block: 4 numbers: expected x, x,y or x,y,z"},
		{[]string{"ptx", "run", scale, "--block", "32", "--grid", "1,65536"}, 2, "--grid: 65536: expected 1 to 65535"},
		{run("--shared=-1"), 2, "--shared: -1: expected 0 to"},
		{run("--shared", "300000"), 2, "--shared: 300000: expected 0 to"},
		{run("--seeds", "0"), 2, "--seeds: 0: expected at least 1"},
		{run("--limit", "0"), 2, "--limit: 0: expected at least 1"},
		{run("--arg", "u64:0"), 2, "kernel scale takes 3 arguments, 1 given:\n  0  .u64     x   --arg u64:VALUE, or buf:TYPE:COUNT=CONTENT for a pointer\n  1  .f32     a   --arg f32:VALUE"},
		{run("--arg", "u32:0", "--arg", "f32:1", "--arg", "u32:1"), 2, "--arg u32:0: it has 4 bytes, the parameter 8"},
		{run("--arg", "u64:0", "--arg", "i32:1", "--arg", "u32:1"), 2, "--arg i32:1: it is of another kind than the parameter"},
		{run("--arg", "u64:0", "--arg", "f32:one", "--arg", "u32:1"), 2, `--arg f32:one: "one" is not a number of type f32`},
		{run("--arg", "u64:0", "--arg", "f32:1", "--arg", "u32:-1"), 2, `"-1" is not a number of type u32`},
		{run("--arg", "u64:0", "--arg", "f33:1", "--arg", "u32:1"), 2, `type "f33": expected one of f32, f64, bf16`},
		{run("--arg", "u64:0", "--arg", "f32", "--arg", "u32:1"), 2, "--arg f32: expected TYPE:VALUE"},
		{run("--arg", "u64:0", "--arg", "bytes:0", "--arg", "u32:1"), 2, "expected pairs of hexadecimal digits"},
		{with("buf:f32"), 2, "expected buf:f32:COUNT"},
		{with("buf:f32:many"), 2, `shape "many": expected a number of elements`},
		{with("buf:f32:99999999999x99999999999"), 2, "of at most 1073741824 bytes"},
		{with("buf:f32:1=noise"), 2, `content "noise": expected zeros, ones, iota, rand, @FILE.npy or @FILE.bin`},
		{with("buf:f32=@" + filepath.Join(dir, "none.npy")), 1, "none.npy: no such file"},
		{with("buf:f32=@" + garbage), 1, "garbage.npy: not a .npy array"},
		{with("buf:f32=@" + doubles), 1, "doubles.npy: element type <f8: expected <f4 for a buffer of f32"},
		{with("buf:f32=@" + short), 1, "short.npy: shape [2] needs 8 bytes, the file has 4"},
		{with("buf:f32=@" + huge), 1, "huge.npy: shape [1073741824 1073741824]: at most"},
		{with("buf:f32:2=@" + goodNPY), 1, "good.npy: 1 elements, --arg buf:f32:2=@"},
		{with("buf:f32=@" + odd), 1, "odd.bin: 3 bytes: expected a multiple of 4"},
		{with("buf:f32:1=ones", "--out", "0"), 2, "--out 0: expected N=FILE"},
		{with("buf:f32:1=ones", "--out", "1=x.npy"), 2, "--out 1=x.npy: argument 1 is not a buffer"},
		{with("buf:f32:1=ones", "--out", "0=x.txt"), 2, "expected a name that ends in .npy or .bin"},
		{with("buf:f32:1=ones", "--out", "0="+filepath.Join(dir, "none", "x.npy")), 1, "no such file or directory"},
		{with("u64:0x70000000"), 1, "scale.ptx:22: out of bounds in ld.global.f32"},
		{[]string{"ptx", "stats", scale, "--arg", "f32:1"}, 2, "--arg without --block"},
		{[]string{"ptx", "stats", scale, "--kernel", "k"}, 2, "has no kernel k"},
	} {
		code, _, errOut := dmx(t, c.args...)
		if code != c.code || !strings.Contains(errOut, c.err) {
			t.Errorf("dmx %s: code %d, want %d; want %q in\n%s", strings.Join(c.args, " "), code, c.code, c.err, errOut)
		}
	}
}

// An endless loop ends by --limit.
func TestPTXLimit(t *testing.T) {
	path := ptxFile(t, "loop.ptx", strings.Replace(scalePTX, "$done:\n\tret;", "$done:\n\tbra $done;", 1))
	code, _, errOut := dmx(t, "ptx", "run", path, "--block", "32", "--limit", "1000", "--arg", "buf:f32:1=ones", "--arg", "f32:1", "--arg", "u32:1")
	if code != 1 || !strings.Contains(errOut, "more than 1000 instructions in one launch") {
		t.Errorf("code %d: %s", code, errOut)
	}
}

func TestElements(t *testing.T) {
	for _, c := range []struct{ typ, text, want string }{
		{"f32", "1.5", "1.5"}, {"f32", "-inf", "-Inf"}, {"f64", "0.1", "0.1"}, {"bf16", "1.00390625", "1"}, {"bf16", "3.140625", "3.140625"},
		{"i8", "-128", "-128"}, {"i16", "0x7fff", "32767"}, {"s32", "-7", "-7"}, {"i64", "-9223372036854775808", "-9223372036854775808"},
		{"u8", "255", "255"}, {"u16", "0xffff", "65535"}, {"u32", "4294967295", "4294967295"}, {"u64", "18446744073709551615", "18446744073709551615"},
	} {
		e, err := elementOf(c.typ)
		if err != nil {
			t.Fatal(err)
		}
		b, err := e.value(c.text)
		if err != nil || len(b) != e.size || e.text(b, 0) != c.want {
			t.Errorf("%s:%s is % x, %v; shown as %s, want %s", c.typ, c.text, b, err, e.text(b, 0), c.want)
		}
	}
	// NumPy has no bf16: a file holds float32.
	e, _ := elementOf("bf16")
	file := binary.LittleEndian.AppendUint32(nil, math.Float32bits(3.140625))
	b := e.fromNPY(file)
	if len(b) != 2 || tensor.FromBF16(binary.LittleEndian.Uint16(b)) != 3.140625 || !bytes.Equal(e.toNPY(b), file) {
		t.Errorf("% x from % x", b, file)
	}
}
