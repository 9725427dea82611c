package device

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/cuda/drivertest"
	"github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/kernels/optest"
	"github.com/dino-mx/dmx/kernels/ptx"
	"github.com/dino-mx/dmx/tensor"
)

// The kernels that ship give the known answers, in the newest versions that the emulated devices run.
func TestAnswersOfSoundKernels(t *testing.T) {
	for _, d := range []*ptx.Driver{ptx.NewDriver(1<<28, 1), ptx.NewHopperDriver(1<<28, 1)} {
		t.Run(fmt.Sprint(d.Info().Major), func(t *testing.T) {
			t.Parallel()
			dev, err := openCUDA(d)
			if err != nil {
				t.Fatal(err)
			}
			newest := dev.Backend.(*cuda.Backend).Newest()
			if len(dev.Checks) != len(families) {
				t.Fatalf("%d families are checked, want %d", len(dev.Checks), len(families))
			}
			for _, f := range families {
				for v := 1; f.ladder != oneVersion && v < *f.version(&newest); v++ {
					if f.cost[v] == "" {
						t.Errorf("%s: nothing says what version %d costs", f.name, v)
					}
				}
			}
			for i := range dev.Checks {
				c := &dev.Checks[i]
				if l := families[i].ladder; l != oneVersion && c.Version != *l.version(&newest) {
					t.Errorf("%s: version %d is used, want %d", c.Family, c.Version, *l.version(&newest))
				}
				if c.String() != "right" || c.Warning() != "" || c.Calls == 0 {
					t.Errorf("%s: %d calls, %s, %s", c.Family, c.Calls, c, c.Warning())
				}
			}
		})
	}
}

// planted is a driver whose kernels have a fault: in every kernel whose name matches, the nth match of a pattern is
// replaced.
type planted struct {
	*ptx.Driver
	kernel, pattern string
	nth             int
	replace         string
	applied         int
}

func (d *planted) Load(name, src string) (gpu.Module, error) {
	entry := regexp.MustCompile(`\.entry (` + d.kernel + `)\(`)
	pattern := regexp.MustCompile(d.pattern)
	var out strings.Builder
	for {
		begin := entry.FindStringIndex(src)
		if begin == nil {
			break
		}
		end := begin[1] + strings.Index(src[begin[1]:], "-- End function")
		body := src[begin[1]:end]
		out.WriteString(src[:begin[1]])
		if found := pattern.FindAllStringSubmatchIndex(body, -1); len(found) >= d.nth {
			at := found[d.nth-1]
			body = body[:at[0]] + string(pattern.ExpandString(nil, d.replace, body, at)) + body[at[1]:]
			d.applied++
		}
		out.WriteString(body)
		src = src[end:]
	}
	out.WriteString(src)
	return d.Driver.Load(name, out.String())
}

// packed hands arguments to version 3 of the products as one buffer that begins at the base of the parameters. On
// compute capability 9.0 the tensor maps of these kernels begin 48 bytes behind that base, so every parameter gets the
// bytes that lie 48 further.
type packed struct{ *ptx.Driver }

func (d packed) Launch(l *gpu.Launch) error {
	if strings.HasPrefix(l.Name, "gemm_v3") || strings.HasPrefix(l.Name, "gemm_v4") {
		shifted := *l
		shifted.Args = append(append([]byte(nil), l.Args[48:]...), make([]byte, 48)...)
		l = &shifted
	}
	return d.Driver.Launch(l)
}

// Each wrong kernel is named with its result and the expectation. Where there is an older version it takes the place of
// the wrong one, with a warning, and is right; otherwise the device is not opened.
func TestWrongKernels(t *testing.T) {
	const (
		mmaA   = `(mma\.sync[^{]*\{[^}]*\}, )\{([^,]*), ?([^,]*), ?([^,]*), ?([^}]*)\}`
		fma    = `fma\.rn\.f32(\s+%f\d+, %f\d+, %f\d+), %f\d+;`
		shfl   = `(shfl\.sync\.bfly\.b32\s+%\w+, %\w+, )(%r\d+|16),`
		below  = `setp\.lt\.s32(\s+%p\d+, %r\d+), 0`
		first  = `ld\.param`
		newer  = `gemm_v[34]\w*`
		matrix = "matrix products"
	)
	sm80 := func(kernel, pattern string, nth int, replace string) gpu.Driver {
		return &planted{Driver: ptx.NewDriver(1<<28, 1), kernel: kernel, pattern: pattern, nth: nth, replace: replace}
	}
	sm90 := func(kernel, pattern string, nth int, replace string) gpu.Driver {
		return &planted{Driver: ptx.NewHopperDriver(1<<28, 1), kernel: kernel, pattern: pattern, nth: nth, replace: replace}
	}
	for _, c := range []struct {
		name    string
		driver  gpu.Driver
		family  string
		version int    // that takes the place; 0: the run stops
		named   string // in the message
	}{
		{"arguments packed at the wrong place", packed{ptx.NewHopperDriver(1<<28, 1)}, matrix, 2, "even/NN/17x33x128"},
		{"a product is not computed", sm90(newer, first, 1, "ret;\n\tld.param"), matrix, 2, "is NaN, want"},
		{"an operand is taken for transposed", sm90(newer, `p, 1, 1, 0, 0;`, 1, "p, 1, 1, 0, 1;"),
			matrix, 2, "elements differ"},
		{"fragments of a product are exchanged", sm80("gemm_v2_nt", mmaA, 1, "$1{$2, $4, $3, $5}"),
			matrix, 1, "Gemm/bf16/even/NT"},
		{"a transposed load is forgotten", sm80("gemm_v2_tn", `\.x4\.trans`, 2, ".x4"), matrix, 1, "Gemm/bf16/even/TN"},
		{"the parts of a sum over K are not added", sm80("gemm_finishv", first, 1, "ret;\n\tld.param"), matrix, 1, "cut/TN"},
		{"the plainest product is wrong", sm80("gemm_v1_f32", fma, 1, "mul.f32$1;"),
			matrix, 0, "Gemm/f32"},
		{"attention loads a matrix wrongly", sm80("attention_v2_64", `\.x4\.trans`, 3, ".x4"),
			"attention", 1, "Attention/bf16/32"},
		{"attention's gradient exchanges fragments", sm80("attention_dkv_v2_64", mmaA, 3, "$1{$2, $4, $3, $5}"),
			"attention", 1, "AttentionBackward"},
		{"attention's rows are summed wrongly", sm80("attention_delta_bf16", fma, 1, "mul.f32$1;"),
			"attention", 0, "AttentionBackward"},
		{"half of a warp is left out of a norm", sm80("layer_norm_bf16", shfl, 1, "${1}8,"),
			"norms", 0, "LayerNorm/bf16/15x33"},
		{"cross-entropy without an exponential", sm80("cross_entropy_bf16", `ex2\.approx\.ftz\.f32`, 1, "mov.f32"),
			"softmax and cross-entropy", 0, "CrossEntropy"},
		{"a wide sum of exponentials forgets a lane", sm80("row_lse_bf16w", shfl, 1, "${1}8,"),
			"softmax and cross-entropy", 1, "RowLogSumExp/bf16/student/3x256"},
		{"the optimiser without a root", sm80("adamw", `sqrt\.rn\.f32`, 1, "mov.f32"), "optimiser", 0, "AdamW"},
		{"rows are gathered from elsewhere", sm80("gather_bf16_bf16", below, 1, "setp.lt.s32$1, 9"),
			"data movement", 0, "GatherRows"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := cuda.New(c.driver, cuda.Versions{})
			var f []family
			for _, x := range families {
				if x.name == c.family {
					f = append(f, x)
				}
			}
			checks, err := checkAnswers(b, f)
			if p, ok := c.driver.(*planted); ok && p.applied == 0 {
				t.Fatal("the fault is not in the kernel")
			}
			if len(checks) != 1 {
				t.Fatalf("%d checks, error %v", len(checks), err)
			}
			got := &checks[0]
			t.Logf("%s", got)
			if !strings.Contains(got.String(), c.named) {
				t.Errorf("%q does not name %q", got, c.named)
			}
			if c.version == 0 {
				if err == nil || !strings.Contains(err.Error(), c.family) || !strings.Contains(err.Error(), c.named) {
					t.Fatalf("the device is opened: %v", err)
				}
				return
			}
			if err != nil || got.Version != c.version {
				t.Fatalf("version %d is used, want %d: %v", got.Version, c.version, err)
			}
			instead := fmt.Sprintf("version %d takes their place, at about", c.version)
			if w := got.Warning(); !strings.Contains(w, c.named) || !strings.Contains(w, instead) {
				t.Errorf("warning %q", w)
			}
			if err := firstError(optest.Answers(b, f[0].rows)); err != nil {
				t.Errorf("the version in use: %v", err)
			}
		})
	}
}

// A device that computes nothing, or fails, or lacks the memory, is not opened, and the error says which it is.
func TestDevicesThatAreNotOpened(t *testing.T) {
	_, err := openCUDA(drivertest.NewDry(1 << 30))
	const fails, last = "fails the check of its kernels", "version 1: Gemm"
	if err == nil || !strings.Contains(err.Error(), fails) || !strings.Contains(err.Error(), last) {
		t.Errorf("a device that computes nothing: %v", err)
	}
	broken := errors.New("CUDA_ERROR_ILLEGAL_ADDRESS (700)")
	_, err = openCUDA(&drivertest.Failer{Driver: drivertest.NewDry(1 << 30), FailLaunch: 1, Err: broken})
	if !errors.Is(err, broken) {
		t.Errorf("a device that fails: %v", err)
	}
	_, err = openCUDA(drivertest.NewDry(1 << 10))
	if oom := new(tensor.OutOfMemory); !errors.As(err, &oom) || strings.Contains(err.Error(), "wrong") {
		t.Errorf("a device without memory: %v", err)
	}
}
