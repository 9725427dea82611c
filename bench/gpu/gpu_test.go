package main

import (
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/ssl/config"
)

// Every section at tiny sizes on the interpreter, results held against float64, without PyTorch: no section fails, and
// each writes its table.
func TestDryRun(t *testing.T) {
	out := t.TempDir()
	b := &bench{device: emulated, dry: true, rounds: 1, models: []string{"micro"}}
	// The section start runs this program anew, which a test is not.
	if err := b.run(out, "gemm,attention,memory,step,profile"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(out, "gpu.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"nothing here was measured", "## Matrix product", "32x32x32 NT", "## Attention", "backward", "## Kernels that move", "| AdamW + teacher |", "## One DINOv2 step", "| ViT-micro/7 | dmx |", "### ViT-micro/7", "| Gemm |", "| AdamW |"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("gpu.md lacks %q", want)
		}
	}
	for _, bad := range []string{"NaN", "Inf", "error", "wrong result"} {
		if strings.Contains(string(text), bad) {
			t.Errorf("gpu.md has %q:\n%s", bad, text)
		}
	}
}

func TestUnknownSection(t *testing.T) {
	if err := (&bench{}).run(t.TempDir(), "gemm,speed"); err == nil || !strings.Contains(err.Error(), "-only speed") {
		t.Errorf("error %v", err)
	}
}

// The scripts are what bash and Python read without complaint.
func TestScriptsParse(t *testing.T) {
	for _, c := range []struct {
		program, glob string
		args          []string
	}{{"bash", "*.sh", []string{"-n"}}, {"python3", "peers/*.py", []string{"-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())"}}} {
		files, err := fs.Glob(os.DirFS("."), c.glob)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", c.glob, files, err)
		}
		program, err := exec.LookPath(c.program)
		if err != nil {
			t.Logf("%s is not here", c.program)
			continue
		}
		for _, f := range files {
			if out, err := exec.Command(program, append(c.args, f)...).CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", f, err, out)
			}
		}
	}
}

// The recipe of curves.sh is one that training accepts, and its schedules fit its length.
func TestCIFARRecipe(t *testing.T) {
	c, err := config.Load("cifar10.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if steps := 50000 / c.Train.GlobalBatchSize * 100; c.Train.MaxIterations != steps {
		t.Errorf("%d steps are not 100 epochs, which are %d", c.Train.MaxIterations, steps)
	}
}

func TestReadCurve(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "metrics.jsonl"), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"iteration":0,"loss":3}` + "\n" + `{"iteration":2,"loss":null}` + "\n" + `{"iteration":3,"loss":5,"lr":1}` + "\n")
	got, err := readCurve(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 4 || got[0] != 3 || !math.IsNaN(got[1]) || !math.IsNaN(got[2]) || got[3] != 5 {
		t.Errorf("curve %v", got)
	}
	if diff := cmp.Diff(stretch{2, 4, 1}, cut(got), cmp.AllowUnexported(stretch{})); diff != "" {
		t.Errorf("cut (-want +got):\n%s", diff)
	}
	for _, bad := range []string{"", "{\n", `{"iteration":1,"loss":3}` + "\n" + `{"iteration":1,"loss":3}` + "\n"} {
		write(bad)
		if _, err := readCurve(dir); err == nil || !strings.Contains(err.Error(), "metrics.jsonl") {
			t.Errorf("%q: error %v", bad, err)
		}
	}
}

// A visit to a card ends within its budget whatever its programs do, keeps what they have printed, and says what it cut
// off, what it left out and what failed.
func TestVisitKeepsItsBudget(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not here")
	}
	script, err := os.ReadFile("visit.sh")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	put("visit.sh", string(script))
	put("dmx", "#!/bin/bash\necho known answers\nexit 3\n")
	for _, name := range []string{"bench", "check.test", "driver.test"} {
		put(name, "#!/bin/bash\necho \"| a row of "+name+" |\"\nexec sleep 60\n")
	}
	const budget = 24 // seconds: enough for doctor and the trainer check, not for a step
	start := time.Now()
	text, err := exec.Command(bash, filepath.Join(dir, "visit.sh"), "--dry", "--budget", strconv.Itoa(budget), "doctor", "trainer", "step").CombinedOutput()
	if took := time.Since(start); took > (budget+3)*time.Second {
		t.Errorf("a visit of %d s took %v", budget, took)
	}
	if err == nil {
		t.Error("exit code 0 although doctor failed")
	}
	for _, want := range []string{"known answers", "| a row of check.test |", "FAILED, exit code 3", "cut off after", "left out: needs 20 s"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the output lacks %q:\n%s", want, text)
		}
	}
	if kept, err := os.ReadFile(filepath.Join(dir, "visit", "trainer.md")); err != nil || !strings.Contains(string(kept), "a row of check.test") {
		t.Errorf("trainer.md: %q, %v", kept, err)
	}
}
