package optest

import (
	"slices"
	"strings"
	"testing"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/ref"
	"github.com/dino-mx/dmx/tensor"
	"github.com/google/go-cmp/cmp"
)

// unsteady is off by less than rounding explains in every second call.
type unsteady struct {
	kernels.Backend
	calls int
}

func (u *unsteady) ActForward(out, x *tensor.Tensor, act kernels.Activation) {
	u.Backend.ActForward(out, x, act)
	if u.calls++; u.calls%2 == 0 {
		u.Axpy(out, 1e-7, out)
	}
}

// A survey reports each row once for every subject that wants it, in rounds over all operations, whatever the number of
// processors that evaluate the oracle; it finds faults and results that change from run to run.
func TestSurvey(t *testing.T) {
	r := ref.New()
	opts := []Option{Small, Each(24), Only("Gemm", "ActForward", "Fill")}
	subjects := []Subject{
		{Name: "right", Backend: r, Repeat: true},
		{Name: "wrong", Backend: dropsBias{r}, Ops: []string{"Gemm"}},
		{Name: "unsteady", Backend: &unsteady{Backend: r}, Ops: []string{"ActForward"}, Repeat: true},
	}
	var findings []Finding
	Survey(subjects, func(f Finding) bool {
		findings = append(findings, f)
		return true
	}, opts...)
	if want := SurveySize(subjects, opts...); len(findings) != want {
		t.Errorf("%d findings, SurveySize %d", len(findings), want)
	}
	var got, want []string
	unsteadyFound := false
	ops := map[string]bool{}
	for i, f := range findings {
		if i < 6 { // three operations in two types
			ops[f.Op+f.Type] = true
		}
		switch f.Subject {
		case "right":
			got = append(got, f.Op+"/"+f.Type+"/"+f.Row)
			if f.Err != nil {
				t.Errorf("%s: %v", f.Row, f.Err)
			}
		case "unsteady":
			unsteadyFound = unsteadyFound || f.Err != nil && strings.Contains(f.Err.Error(), "with first run and")
		}
	}
	if len(ops) < 3 {
		t.Errorf("the first findings are of %v only", ops)
	}
	if !slices.ContainsFunc(findings, func(f Finding) bool { return f.Subject == "wrong" && f.Err != nil }) {
		t.Error("no row of Gemm noticed that the bias was dropped")
	}
	if !unsteadyFound {
		t.Error("no row of ActForward noticed that results change from run to run")
	}
	Walk(r, func(c Case) bool {
		want = append(want, c.Op+"/"+c.Type+"/"+c.Row)
		return true
	}, opts...)
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows of Walk and of Survey (-Walk +Survey):\n%s", diff)
	}

	stopped := 0
	Survey(subjects, func(Finding) bool { stopped++; return stopped < 4 }, opts...)
	if stopped != 4 {
		t.Errorf("stopped after 4 findings, saw %d", stopped)
	}
}

func TestByHalving(t *testing.T) {
	if diff := cmp.Diff([]int{3, 1, 5, 0, 2, 4, 6}, byHalving([]int{0, 1, 2, 3, 4, 5, 6})); diff != "" {
		t.Error(diff)
	}
}

// Named rows run in the order of their names, aligned, and a row that the table does not have is a programming error.
func TestAnswers(t *testing.T) {
	names := []RowName{
		{"Gemm", "cube/NT/7x7x7", tensor.F32}, {"AdamW", "3 entries/step 2", tensor.BF16}, {"Gemm", "cube/NN/1x1x1", tensor.BF16},
	}
	for i, c := range Answers(ref.New(), names) {
		if got := (RowName{c.Op, c.Row, names[i].Type}); got != names[i] || c.Type != names[i].Type.String() || c.Err != nil {
			t.Errorf("%d: %+v, want %v", i, c, names[i])
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a row that does not exist is run")
		}
	}()
	Answers(ref.New(), []RowName{{"Gemm", "cube", tensor.F32}})
}
