package ptx_test

import (
	_ "embed"
	"encoding/binary"
	"fmt"
	"math"
	"os/exec"
	"testing"

	"github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/kernels/ptx"
	"github.com/dino-mx/dmx/tensor"
)

//go:embed testdata/hopper_gemm.ptx
var hopperGemm string

// gemmShape is one product of the test kernel: a [m][k], b [n][k], c [m][n].
type gemmShape struct{ m, n, k int }

// runHopperGemm runs src on random matrices and returns the inputs and the result.
func runHopperGemm(t testing.TB, src string, s gemmShape, seed uint64) (a, b []uint16, c []float32, d *ptx.Driver, err error) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	d = ptx.NewHopperDriver(64<<20, seed)
	d.Machine.MaxInstructions = 2_000_000
	r := tensor.NewRand(11, uint32(s.m), uint32(s.n), 1<<24)
	upload := func(rows, cols int) ([]uint16, uint64) {
		v := make([]uint16, rows*cols)
		buf := make([]byte, 2*len(v))
		for i := range v {
			v[i] = tensor.ToBF16(float32(r.Norm()))
			binary.LittleEndian.PutUint16(buf[2*i:], v[i])
		}
		addr, err := d.Alloc(len(buf))
		must(err)
		must(d.CopyIn(addr, buf))
		return v, addr
	}
	a, addrA := upload(s.m, s.k)
	b, addrB := upload(s.n, s.k)
	addrC, err := d.Alloc(4 * s.m * s.n)
	must(err)
	var args []byte
	var params []uint32
	for _, m := range []gpu.TensorMap{
		{Addr: addrA, ElemBytes: 2, Cols: s.k, Rows: s.m, RowBytes: 2 * s.k, BoxCols: 64, BoxRows: 128, Swizzle: 128},
		{Addr: addrB, ElemBytes: 2, Cols: s.k, Rows: s.n, RowBytes: 2 * s.k, BoxCols: 64, BoxRows: 64, Swizzle: 128},
		{Addr: addrC, ElemBytes: 4, Cols: s.n, Rows: s.m, RowBytes: 4 * s.n, BoxCols: 32, BoxRows: 64},
	} {
		e, err := d.TensorMap(m)
		must(err)
		params = append(params, uint32(len(args)))
		args = append(args, e[:]...)
	}
	for _, v := range []int{s.m, s.n, s.k} {
		params = append(params, uint32(len(args)))
		args = binary.LittleEndian.AppendUint32(args, uint32(v))
	}
	mod, err := d.Load("hopper_gemm", src)
	must(err)
	const shared = 3*(128+64)*128 + 2*2*64*32*4
	f, err := mod.Function("hopper_gemm", shared)
	must(err)
	err = d.Launch(&gpu.Launch{Name: "hopper_gemm", Function: f, Grid: [3]int{(s.n + 63) / 64, (s.m + 127) / 128, 1}, Block: [3]int{384, 1, 1}, Shared: shared, Args: args, Params: params})
	if err != nil {
		return a, b, nil, d, err
	}
	buf := make([]byte, 4*s.m*s.n)
	must(d.CopyOut(buf, addrC))
	c = make([]float32, s.m*s.n)
	for i := range c {
		c[i] = math.Float32frombits(binary.LittleEndian.Uint32(buf[4*i:]))
	}
	return a, b, c, d, nil
}

// The product of the small kernel against one in float64: every element is off by at most what a float32 sum of its
// length may lose.
func TestHopperGemm(t *testing.T) {
	t.Parallel()
	for _, s := range []gemmShape{{128, 64, 64}, {256, 128, 512}, {200, 104, 72}, {8, 4, 1000}} {
		for seed := uint64(1); seed <= 3; seed++ {
			t.Run(fmt.Sprintf("%dx%dx%d/schedule %d", s.m, s.n, s.k, seed), func(t *testing.T) {
				a, b, c, _, err := runHopperGemm(t, hopperGemm, s, seed)
				if err != nil {
					t.Fatal(err)
				}
				checkProduct(t, s, a, b, c)
			})
		}
	}
}

// checkProduct compares c with the float64 product within k·2^-24 of the sum of the magnitudes.
func checkProduct(t *testing.T, s gemmShape, a, b []uint16, c []float32) {
	t.Helper()
	bad := 0
	for i := range s.m {
		for j := range s.n {
			want, size := 0.0, 0.0
			for k := range s.k {
				p := float64(tensor.FromBF16(a[i*s.k+k])) * float64(tensor.FromBF16(b[j*s.k+k]))
				want += p
				size += math.Abs(p)
			}
			if got := float64(c[i*s.n+j]); !(math.Abs(got-want) <= float64(s.k)*0x1p-24*size) {
				if bad++; bad <= 5 {
					t.Errorf("c[%d][%d] is %v, want %v", i, j, got, want)
				}
			}
		}
	}
	if bad > 5 {
		t.Errorf("%d of %d elements are wrong", bad, s.m*s.n)
	}
}

// The committed PTX is what its source compiles to.
func TestHopperGemmIsCurrent(t *testing.T) {
	t.Parallel()
	clang, err := exec.LookPath("clang-19")
	if err != nil {
		t.Skip("clang-19 is not here")
	}
	cmd := exec.Command(clang, "-x", "cuda", "--cuda-device-only", "-S", "-nocudainc", "-nocudalib", "--cuda-feature=+ptx83", "--cuda-gpu-arch=sm_90a", "-O3", "testdata/hopper_gemm.cu", "-o", "-")
	got, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != hopperGemm {
		t.Error("testdata/hopper_gemm.ptx is not what hopper_gemm.cu compiles to; its first lines say how to make it")
	}
}
