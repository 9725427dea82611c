package hf

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dino-mx/dmx/kernels/cpu"
)

var parityFile = flag.String("parity", "", "write the worst errors of the Parity tests as a table to this file")

// parity collects the worst error by test, fixture and quantity while the tests run.
var parity = map[[3]string]float64{}

// keep notes an error of what was compared: "size48x24 hidden state 1" counts as other sizes' hidden states.
func keep(t *testing.T, what string, e float64) {
	test, fixture, _ := strings.Cut(t.Name(), "/")
	for _, q := range []string{"hidden state", "attention", "pooler", "masked", "gradient", "unmerged", "merged", "written and read"} {
		if strings.Contains(what, q) {
			what = q
			break
		}
	}
	if strings.HasPrefix(what, "size") {
		what = "other sizes"
	}
	k := [3]string{test, fixture, what}
	parity[k] = max(parity[k], e)
}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if *parityFile != "" {
		if err := os.WriteFile(*parityFile, []byte(parityTables()), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func parityTables() string {
	backend := cpu.New(cpu.Options{})
	defer backend.Close()
	var b strings.Builder
	fmt.Fprintf(&b, "# Worst errors against the reference implementations\n\nWritten by `go test ./nn/hf -tags cpu -run Parity -count=1 -parity FILE` on %s, %s. ",
		backend.Name(), time.Now().UTC().Format("2006-01-02"))
	b.WriteString("Fixtures are those of nn/hf/testdata, made by make.py " +
		"with the versions in versions.json. Absolute errors on outputs of order one, except gradients: ‖ours - theirs‖ / ‖theirs‖ of the worst parameter.\n")
	for _, part := range []struct{ test, title string }{
		{"TestForwardParity", "transformers: forward (bar 2e-5)"},
		{"TestBackwardParity", "transformers: gradient of every parameter (bar 1e-4)"},
		{"TestForeignParity", "timm and Meta's own code: forward (bar 2e-5)"},
		{"TestAdapterParity", "peft (bar 1e-5)"},
	} {
		fixtures, columns := map[string]bool{}, map[string]bool{}
		for k := range parity {
			if k[0] == part.test {
				fixtures[k[1]], columns[k[2]] = true, true
			}
		}
		cols := slices.SortedFunc(maps.Keys(columns), func(x, y string) int {
			if (x == "native") != (y == "native") {
				return map[bool]int{true: -1, false: 1}[x == "native"]
			}
			return strings.Compare(x, y)
		})
		fmt.Fprintf(&b, "\n## %s\n\n| fixture | %s |\n|---%s|\n", part.title, strings.Join(cols, " | "), strings.Repeat("|---", len(cols)))
		for _, f := range slices.Sorted(maps.Keys(fixtures)) {
			fmt.Fprintf(&b, "| %s", f)
			for _, c := range cols {
				if e, ok := parity[[3]string{part.test, f, c}]; ok {
					fmt.Fprintf(&b, " | %.1e", e)
				} else {
					b.WriteString(" | ")
				}
			}
			b.WriteString(" |\n")
		}
	}
	return b.String()
}
