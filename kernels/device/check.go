package device

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/optest"
	"github.com/dino-mx/dmx/tensor"
)

// Check is the outcome of one kernel family in the check that Open makes: small calls whose results are compared with
// the float64 oracle.
type Check struct {
	Family  string
	Version int    // the version that is used; 0 for a family of one version
	Calls   int    // compared for each version
	Cost    string // of an older version that takes the place of wrong ones

	wrong []error // of each version that was tried and is wrong, the newest first
	right bool
}

// String is the outcome in words.
func (c *Check) String() string {
	switch {
	case !c.right:
		return "WRONG: " + c.reasons()
	case len(c.wrong) > 0:
		return fmt.Sprintf("right in version %d, at %s; %s", c.Version, c.Cost, c.reasons())
	}
	return "right"
}

// Warning says that an older version takes the place of a wrong one and what that costs, "" where none does.
func (c *Check) Warning() string {
	if !c.right || len(c.wrong) == 0 {
		return ""
	}
	return fmt.Sprintf("%s: the kernels give wrong results (%s); version %d takes their place, at %s",
		c.Family, c.reasons(), c.Version, c.Cost)
}

func (c *Check) reasons() string {
	text := make([]string, len(c.wrong))
	for i, err := range c.wrong {
		text[i] = err.Error()
	}
	return strings.Join(text, "; ")
}

// wrongFamily is the error of a family of which no version is right.
type wrongFamily struct{ *Check }

func (w wrongFamily) Error() string { return w.Family + ": " + w.reasons() }

func (w wrongFamily) Unwrap() []error { return w.wrong }

// wrongAnswer is a call that did not give the known answer.
type wrongAnswer struct{ optest.Case }

// Error names the call and the first thing that is wrong with its results.
func (w *wrongAnswer) Error() string {
	what, _, _ := strings.Cut(w.Err.Error(), "\n")
	return fmt.Sprintf("%s/%s/%s: %s", w.Op, w.Type, w.Row, what)
}

func (w *wrongAnswer) Unwrap() error { return w.Err }

// firstError is the first call that did not give the known answer.
func firstError(cases []optest.Case) error {
	for _, c := range cases {
		if c.Err != nil {
			return &wrongAnswer{c}
		}
	}
	return nil
}

// checkAnswers compares kernel families of b with the oracle. Where a family is wrong, its next older version is tried,
// together with all families of the same ladder, until it is right. The error names the families of which no version
// is.
func checkAnswers(b *cuda.Backend, families []family) ([]Check, error) {
	use := b.Newest()
	checks := make([]Check, len(families))
	for i, f := range families {
		checks[i] = Check{Family: f.name, Calls: len(f.rows)}
	}
	again := map[*ladder]bool{gemmVersions: true, attentionVersions: true, moverVersions: true, oneVersion: true}
	for len(again) > 0 {
		b.Use(use)
		var all []optest.RowName
		for _, f := range families {
			if again[f.ladder] {
				all = append(all, f.rows...)
			}
		}
		cases := optest.Answers(b, all)
		older := map[*ladder]bool{}
		for i, f := range families {
			if !again[f.ladder] {
				continue
			}
			err := firstError(cases[:len(f.rows)])
			cases = cases[len(f.rows):]
			if oom := new(tensor.OutOfMemory); errors.As(err, &oom) {
				return nil, err
			}
			if checks[i].note(f, &use, err) {
				older[f.ladder] = true
			}
		}
		for l := range older {
			*l.version(&use)--
		}
		again = older
	}
	var wrong []error
	for i := range checks {
		if !checks[i].right {
			wrong = append(wrong, wrongFamily{&checks[i]})
		}
	}
	return checks, errors.Join(wrong...)
}

// note records the outcome of the versions in use and reports whether an older version should be tried.
func (c *Check) note(f family, use *cuda.Versions, err error) bool {
	c.right = err == nil
	if f.ladder == oneVersion {
		if err != nil {
			c.wrong = append(c.wrong, err)
		}
		return false
	}
	c.Version = *f.version(use)
	c.Cost = f.cost[c.Version]
	if err != nil {
		c.wrong = append(c.wrong, fmt.Errorf("version %d: %w", c.Version, err))
	}
	return err != nil && c.Version > 1
}

// Warnings says which kernels were replaced by older versions because they gave wrong results.
func (d *Device) Warnings() (list []string) {
	for i := range d.Checks {
		if w := d.Checks[i].Warning(); w != "" {
			list = append(list, d.Text+": "+w)
		}
	}
	return list
}

// check fills Checks. Its error says that the device gives wrong results.
func (d *Device) check() error {
	start := time.Now()
	var err error
	d.Checks, err = checkAnswers(d.cuda, families)
	d.CheckTime = time.Since(start)
	return d.failed(err)
}

// Recheck compares the kernels of a GPU again, in the versions that are in use, where there is reason to doubt them. Its
// error says that the device gives wrong results. The CPU has none.
func (d *Device) Recheck() error {
	if d.cuda == nil {
		return nil
	}
	var wrong []error
	for _, f := range families {
		if err := firstError(optest.Answers(d.cuda, f.rows)); err != nil {
			wrong = append(wrong, wrongFamily{&Check{Family: f.name, wrong: []error{err}}})
		}
	}
	return d.failed(errors.Join(wrong...))
}

func (d *Device) failed(err error) error {
	if oom := new(tensor.OutOfMemory); err == nil || errors.As(err, &oom) {
		return err
	}
	return fmt.Errorf("%s fails the check of its kernels; no version of these gives the right results:\n%w\n"+
		"use --device cpu, and report this with the output of dmx doctor", d.Text, err)
}
