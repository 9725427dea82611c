//go:build linux && cgo && !cpu

package driver

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/kernels/cuda/gpu"
)

const fakeVariable = "DMX_TEST_FAKE_CUDA"

// The calls of this package against testdata/fakecuda.c, which checks them as a driver would.
func TestCallsAgainstFakeDriver(t *testing.T) { againstFake(t, fakeCalls) }

// The arguments of a kernel with a parameter that is aligned to more than the constant bank is.
func TestParametersAgainstFakeDriver(t *testing.T) { againstFake(t, fakeParameters) }

// againstFake runs f in a process of its own with testdata/fakecuda.c for a driver: the library is found by the loader.
func againstFake(t *testing.T, f func(t *testing.T)) {
	if os.Getenv(fakeVariable) != "" {
		t.Run("calls", f)
		return
	}
	dir := t.TempDir()
	build := exec.Command("gcc", "-shared", "-fPIC", "-I", "include", "-o", filepath.Join(dir, "libcuda.so.1"), "testdata/fakecuda.c")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("gcc: %v\n%s", err, out)
	}
	again := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	again.Env = append(os.Environ(), fakeVariable+"=1", "LD_LIBRARY_PATH="+dir)
	out, err := again.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()+"/calls") {
		t.Errorf("%v\n%s", err, out)
	}
}

// add packs the arguments of the fake's kernel add.
func add(f gpu.Function, addr uint64, value uint32, grid int) gpu.Command {
	args := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint64(nil, addr), value)
	return command("add", f, grid, args, 0, 8)
}

// addMap packs the arguments of add_map, whose first is a struct of 128 bytes that begins with more.
func addMap(f gpu.Function, more uint32, addr uint64, value uint32, grid int) gpu.Command {
	args := make([]byte, 128)
	binary.LittleEndian.PutUint32(args, more)
	args = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint64(args, addr), value)
	return command("add_map", f, grid, args, 0, 128, 136)
}

func command(name string, f gpu.Function, grid int, args []byte, params ...uint32) gpu.Command {
	return gpu.Command{Launch: gpu.Launch{Name: name, Function: f, Grid: [3]int{grid, 1, 1}, Block: [3]int{4, 1, 1}, Args: args, Params: params}}
}

// kernels are those that the fake can run.
const kernels = `.version 8.3
.target sm_90a
.address_size 64
.visible .entry add(
	.param .u64 add_param_0,
	.param .u32 add_param_1
)
{
	ret;
}
.visible .entry fault(
	.param .u64 fault_param_0,
	.param .u32 fault_param_1
)
{
	ret;
}
.visible .entry bounded(
	.param .u64 bounded_param_0,
	.param .u32 bounded_param_1
)
.maxntid 512, 1, 1
.maxnreg 136
{
	ret;
}
.visible .entry boxed(
	.param .u64 boxed_param_0,
	.param .u32 boxed_param_1
)
.maxntid 512, 1, 1
{
	.shared .align 4 .b8 box[8192];
	ret;
}
.visible .entry add_map(
	.param .align 64 .b8 add_map_param_0[128],
	.param .u64 add_map_param_1,
	.param .u32 add_map_param_2
)
{
	ret;
}
`

// A parameter aligned to 64 bytes lies 48 bytes behind the base of the parameters on compute capability 9.0: packed
// arguments that begin at the base would give the kernel other bytes, in a launch and in a graph alike, and no call
// would say so.
func fakeParameters(t *testing.T) {
	try := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	d, err := Open(0)
	try(err)
	m, err := d.Load("m", kernels)
	try(err)
	f, err := m.Function("add_map", 0)
	try(err)
	a, err := d.Alloc(32)
	try(err)
	sum := uint32(0)
	expect := func(what string, added uint32) {
		t.Helper()
		sum += added
		raw := make([]byte, 4)
		try(d.CopyOut(raw, a))
		if got := binary.LittleEndian.Uint32(raw); got != sum {
			t.Fatalf("%s: the kernel added up to %d, want %d: its arguments are not where it reads them", what, got, sum)
		}
	}
	one := addMap(f, 100, a, 7, 1).Launch
	try(d.Launch(&one))
	expect("launch", 107)
	cs := []gpu.Command{addMap(f, 200, a, 8, 1), addMap(f, 300, a, 9, 1)}
	g, err := d.NewGraph(cs)
	try(err)
	try(g.Launch(cs, nil))
	expect("graph", 517)
	cs[0], cs[1] = addMap(f, 1000, a, 1, 1), addMap(f, 2000, a, 2, 1)
	try(g.Launch(cs, []int{1}))
	expect("graph, one node changed", 208+2002)
	try(g.Launch(cs, []int{0}))
	expect("graph, the other node changed", 3003)
	try(errors.Join(g.Close(), d.Free(a), d.Close()))
}

func fakeCalls(t *testing.T) {
	try := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	d, err := Open(0)
	try(err)
	if i := d.Info(); i.Name != "fake" || i.Major != 9 || i.DriverVersion != 12040 || i.TotalMemory != 64<<20 {
		t.Errorf("%+v", i)
	}
	if _, err := d.Load("bad", "nonsense"); err == nil || !strings.Contains(err.Error(), "no .version") {
		t.Errorf("the log of the compiler is lost: %v", err)
	}
	m, err := d.Load("m", kernels)
	try(err)
	if _, err := m.Function("missing", 0); err == nil || !strings.Contains(err.Error(), "kernel missing") {
		t.Errorf("%v", err)
	}
	f, err := m.Function("add", 100<<10)
	try(err)
	a, err := d.Alloc(64)
	try(err)
	b, err := d.Alloc(64)
	try(err)
	read := func(p uint64) []uint32 {
		t.Helper()
		raw := make([]byte, 32)
		try(d.CopyOut(raw, p))
		out := make([]uint32, 8)
		for i := range out {
			out[i] = binary.LittleEndian.Uint32(raw[4*i:])
		}
		return out
	}
	expect := func(p uint64, want ...uint32) {
		t.Helper()
		if diff := cmp.Diff(want, read(p)); diff != "" {
			t.Error(diff)
		}
	}

	// Streams, events and pinned memory.
	host, err := d.Pin(32)
	try(err)
	e, err := d.NewEvent()
	try(err)
	binary.LittleEndian.PutUint32(host, 7)
	try(d.Feed(gpu.Transfer, a, host))
	try(e.Record(gpu.Transfer))
	try(e.Follow(gpu.Compute))
	one := add(f, a, 3, 2).Launch
	one.Shared = 100 << 10
	try(d.Launch(&one))
	try(e.Wait())
	expect(a, 10, 3, 3, 3, 3, 3, 3, 3)
	try(d.CopyIn(b, make([]byte, 64)))
	try(d.Copy(b, a, 8))
	expect(b, 10, 3, 0, 0, 0, 0, 0, 0)

	// A graph: as built, unchanged, with changed commands, and with commands it cannot take.
	cs := []gpu.Command{
		{Kind: gpu.FeedCommand, Dst: a, Host: host}, add(f, a, 1, 2), add(f, a, 10, 1), {Kind: gpu.CopyCommand, Dst: b, Src: a, Bytes: 32},
	}
	g, err := d.NewGraph(cs)
	try(err)
	try(g.Launch(cs, nil))
	expect(b, 18, 11, 11, 11, 1, 1, 1, 1)
	other, err := d.Pin(32)
	try(err)
	cs[0].Host, cs[0].Dst = other, a
	cs[2] = add(f, a, 100, 2)
	try(g.Launch(cs, []int{0, 2}))
	expect(b, 101, 101, 101, 101, 101, 101, 101, 101)
	cs[3].Bytes = 4
	try(g.Launch(cs, []int{3}))
	cs[3].Bytes = 0
	if err := g.Launch(cs, []int{3}); !errors.Is(err, gpu.ErrGraph) {
		t.Errorf("%v", err)
	}
	cs[1].Launch.Shared = 1 << 20
	if _, err := d.NewGraph(cs); err == nil || !strings.Contains(err.Error(), "command 1, kernel add") {
		t.Errorf("%v", err)
	}
	try(g.Close())

	// Memory that is not there, and a kernel that fails after its launch succeeded.
	if _, err := d.Alloc(65 << 20); !errors.Is(err, gpu.ErrOutOfMemory) || !strings.Contains(err.Error(), "CUDA_ERROR_OUT_OF_MEMORY") {
		t.Errorf("%v", err)
	}
	if free, total := d.Memory(); total != 64<<20 || free != total-128 {
		t.Errorf("%d of %d bytes free", free, total)
	}
	for _, p := range [][]byte{host, other} {
		try(d.Unpin(p))
	}
	try(d.Free(a))
	try(d.Free(b))
	try(d.Sync())
	try(d.Close())

	d, err = Open(0)
	try(err)
	if m, err = d.Load("m", kernels); err != nil {
		t.Fatal(err)
	}
	f, err = m.Function("fault", 0)
	try(err)
	bad := add(f, 0, 0, 1).Launch
	try(d.Launch(&bad))
	if err := d.Sync(); !errors.Is(err, gpu.ErrFault) || !strings.Contains(err.Error(), "CUDA_ERROR_ILLEGAL_ADDRESS (700)") {
		t.Errorf("%v", err)
	}
	if err := d.Launch(&bad); !errors.Is(err, gpu.ErrFault) {
		t.Errorf("after a fault: %v", err)
	}
}

// A packed buffer begins where the parameters do, so the fake's kernel finds its arguments in one only if they are at the
// offsets of ptxas: a fake that took any other would not show a driver that packs them.
func TestPackedArgumentsOfFakeDriver(t *testing.T) {
	program := filepath.Join(t.TempDir(), "extra")
	build := exec.Command("gcc", "-I", "include", "-o", program, "testdata/extra.c", "testdata/fakecuda.c")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	out, err := exec.Command(program, kernels).CombinedOutput()
	if want := "0: 0\n48: 107\n"; err != nil || string(out) != want {
		t.Errorf("%v, %q, want %q", err, out, want)
	}
}

// The limits of a launch, as the fake enforces them; the interpreter has the same (TestLaunchLimits of kernels/ptx).
func TestLimitsOfFakeDriver(t *testing.T) { againstFake(t, fakeLimits) }

func fakeLimits(t *testing.T) {
	d, err := Open(0)
	if err != nil {
		t.Fatal(err)
	}
	m, err := d.Load("m", kernels)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		kernel         string
		grid, block    [3]int
		asked, dynamic int // bytes of shared memory
		want           string
	}{
		{"fault", [3]int{1, 65536, 1}, [3]int{1, 1, 1}, 0, 0, "CUDA_ERROR_INVALID_VALUE (1)"},
		{"fault", [3]int{1, 1, 65536}, [3]int{1, 1, 1}, 0, 0, "CUDA_ERROR_INVALID_VALUE (1)"},
		{"fault", [3]int{1 << 31, 1, 1}, [3]int{1, 1, 1}, 0, 0, "CUDA_ERROR_INVALID_VALUE (1)"},
		{"fault", [3]int{1, 0, 1}, [3]int{1, 1, 1}, 0, 0, "CUDA_ERROR_INVALID_VALUE (1)"},
		{"fault", [3]int{1, 1, 1}, [3]int{1, 1, 65}, 0, 0, "CUDA_ERROR_INVALID_VALUE (1)"},
		{"fault", [3]int{1, 1, 1}, [3]int{32, 33, 1}, 0, 0, "CUDA_ERROR_INVALID_VALUE (1)"},
		{"fault", [3]int{1, 1, 1}, [3]int{288, 1, 1}, 0, 0, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES (701)"},
		{"bounded", [3]int{1, 1, 1}, [3]int{513, 1, 1}, 0, 0, "CUDA_ERROR_INVALID_VALUE (1)"},
		{"bounded", [3]int{1, 1, 1}, [3]int{512, 1, 1}, 0, 0, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES (701)"},
		{"boxed", [3]int{1, 1, 1}, [3]int{32, 1, 1}, 0, 40<<10 + 4, "CUDA_ERROR_INVALID_VALUE (1)"},
		{"boxed", [3]int{1, 1, 1}, [3]int{32, 1, 1}, 44 << 10, 44<<10 + 4, "CUDA_ERROR_INVALID_VALUE (1)"},
		{"boxed", [3]int{1, 1, 1}, [3]int{32, 1, 1}, 220 << 10, 0, "CUDA_ERROR_INVALID_VALUE (1)"},
		{"add", [3]int{1, 1, 1}, [3]int{32, 1, 1}, 0, 0, ""},
		{"bounded", [3]int{1, 1, 1}, [3]int{448, 1, 1}, 0, 0, ""},
		{"boxed", [3]int{65535, 1, 1}, [3]int{1, 8, 64}, 219 << 10, 219 << 10, ""},
		{"boxed", [3]int{1, 1, 1}, [3]int{32, 1, 1}, 44 << 10, 44 << 10, ""},
		{"boxed", [3]int{1, 1, 1}, [3]int{32, 1, 1}, 0, 40 << 10, ""},
	} {
		f, err := m.Function(c.kernel, c.asked)
		if err == nil {
			l := add(f, 0, 0, 1).Launch
			l.Grid, l.Block, l.Shared = c.grid, c.block, c.dynamic
			// A graph node is held to the same limits. It is not run: there is no memory behind the arguments.
			if _, err = d.NewGraph([]gpu.Command{{Launch: l}}); c.want != "" {
				if err == nil {
					t.Errorf("%s, grid %v, block %v: no error from a graph node, want %q", c.kernel, c.grid, c.block, c.want)
				}
				err = d.Launch(&l)
			}
		}
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || errors.Is(err, gpu.ErrFault)) {
			t.Errorf("%s, grid %v, block %v, %d bytes of %d: %v, want %q", c.kernel, c.grid, c.block, c.dynamic, c.asked, err, c.want)
		}
	}
	for what, change := range map[string][2]string{
		"4 KiB of parameters": {".align 64 .b8 add_map_param_0[128]", ".align 64 .b8 add_map_param_0[4096]"},
		"static memory":       {"box[8192]", "box[49156]"},
		"a later device":      {"sm_90a", "sm_100"},
	} {
		_, err := d.Load("m", strings.Replace(kernels, change[0], change[1], 1))
		if err == nil || !strings.Contains(err.Error(), "CUDA_ERROR_INVALID_PTX (218)") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// What gpu.TensorMap.Check refuses the fake refuses too, and nothing else.
func TestTensorMapsOfFakeDriver(t *testing.T) { againstFake(t, fakeTensorMaps) }

func fakeTensorMaps(t *testing.T) {
	d, err := Open(0)
	if err != nil {
		t.Fatal(err)
	}
	good := gpu.TensorMap{Addr: 0x1000, ElemBytes: 2, Cols: 100, Rows: 7, RowBytes: 208, BoxCols: 64, BoxRows: 128, Swizzle: 128}
	for what, change := range map[string]func(m *gpu.TensorMap){
		"":                   func(*gpu.TensorMap) {},
		"no address":         func(m *gpu.TensorMap) { m.Addr = 0 },
		"address":            func(m *gpu.TensorMap) { m.Addr += 8 },
		"row distance":       func(m *gpu.TensorMap) { m.RowBytes += 4 },
		"short rows":         func(m *gpu.TensorMap) { m.RowBytes = 192 },
		"long rows":          func(m *gpu.TensorMap) { m.RowBytes = 1 << 40 },
		"no columns":         func(m *gpu.TensorMap) { m.Cols = 0 },
		"many rows":          func(m *gpu.TensorMap) { m.Rows = 1<<32 + 1 },
		"tall box":           func(m *gpu.TensorMap) { m.BoxRows = 257 },
		"flat box":           func(m *gpu.TensorMap) { m.BoxRows = 0 },
		"wide box":           func(m *gpu.TensorMap) { m.BoxCols, m.Swizzle = 264, 0 },
		"box of 24 bytes":    func(m *gpu.TensorMap) { m.BoxCols = 12 },
		"box beyond swizzle": func(m *gpu.TensorMap) { m.Swizzle = 64 },
	} {
		m := good
		change(&m)
		_, err := d.(*Driver).encode(m)
		if (err == nil) != (what == "") || err != nil && !strings.Contains(err.Error(), "CUDA_ERROR_INVALID_VALUE (1)") {
			t.Errorf("%q: the fake: %v", what, err)
		}
		if err := m.Check(); (err == nil) != (what == "") {
			t.Errorf("%q: Check: %v", what, err)
		}
	}
}
