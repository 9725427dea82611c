package ssl

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/tensor"
	"github.com/dino-mx/dmx/tensor/safetensors"
)

// The files of a saved trainer. Tensors are safetensors files; names are those of the Hugging Face model behind
// "backbone.", "dino_head." or "ibot_head.".
const (
	studentFile   = "student.safetensors"
	teacherFile   = "teacher.safetensors"
	optimizerFile = "optimizer.safetensors" // "m." and "v." and the parameter: the moments of AdamW
	centresFile   = "centres.safetensors"   // the state of the objective's terms, such as centres
	anchorFile    = "gram_teacher.safetensors"
	stateFile     = "state.json"
)

// position is state.json: what a trainer holds besides tensors. Random numbers and schedules need no state: both are
// functions of seed and step.
type position struct {
	Format      int            `json:"format"`
	Step        int            `json:"step"`        // steps done
	Skipped     int            `json:"skipped"`     // consecutive skipped steps before it
	GramTaken   int            `json:"gram_taken"`  // how often the Gram teacher was taken
	Fingerprint string         `json:"fingerprint"` // of the settings
	Updates     map[string]int `json:"updates"`     // of each parameter: the step number of bias correction
}

const stateFormat = 1

// Save writes the whole state into dir, which exists. A trainer that loads it goes on to the same bits.
func (t *Trainer) Save(dir string) error {
	if err := t.backend.Sync(); err != nil {
		return err
	}
	if err := t.opt.Settle(); err != nil {
		return err
	}
	for _, f := range t.files() {
		var list []safetensors.Tensor
		for _, x := range f.tensors {
			list = append(list, t.stored(x))
		}
		if err := safetensors.WriteFile(filepath.Join(dir, f.name), map[string]string{"format": "pt"}, list); err != nil {
			return fmt.Errorf("save %s: %w", f.name, err)
		}
	}
	p := position{Format: stateFormat, Step: t.steps, Skipped: t.bad, Fingerprint: t.Settings.Fingerprint(), Updates: map[string]int{}}
	if t.snapshot != nil {
		p.GramTaken = t.snapshot.taken
	}
	for _, m := range t.opt.State() {
		p.Updates[m.Name] = m.Updates
	}
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, stateFile), append(text, '\n'), 0o666)
}

// Load replaces the whole state by one that Save has written, into a trainer of the same shapes. Every tensor must be
// there with its type and shape, and none besides; the error lists what differs. same tells whether the settings are
// those of the run that saved. After an error while reading, the trainer must not be used.
func (t *Trainer) Load(dir string) (same bool, err error) {
	text, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return false, fmt.Errorf("load training state: %w", err)
	}
	var p position
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return false, fmt.Errorf("load training state: %s: %w", filepath.Join(dir, stateFile), err)
	}
	if p.Format != stateFormat || p.Step < 0 || p.Skipped < 0 {
		return false, fmt.Errorf("load training state: %s: format %d, step %d; this program reads format %d", filepath.Join(dir, stateFile), p.Format, p.Step, stateFormat)
	}
	files := t.files()
	var problems []error
	for _, f := range files {
		problems = append(problems, f.check(dir))
	}
	for _, m := range t.opt.State() {
		if _, ok := p.Updates[m.Name]; !ok {
			problems = append(problems, fmt.Errorf("%s: no update count of %s", stateFile, m.Name))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return false, fmt.Errorf("load training state of %s: the checkpoint is of another model:\n%w", dir, err)
	}
	for _, f := range files {
		if err := t.read(dir, f); err != nil {
			return false, fmt.Errorf("load training state: %w", err)
		}
	}
	for name, n := range p.Updates {
		if err := t.opt.SetUpdates(name, n); err != nil {
			return false, err
		}
	}
	t.Student.sync(t.backend)
	t.Teacher.sync(t.backend)
	if t.snapshot != nil {
		t.snapshot.model.Params.Sync(t.backend)
		t.snapshot.taken = p.GramTaken
	}
	t.steps, t.bad = p.Step, p.Skipped
	return p.Fingerprint == t.Settings.Fingerprint(), t.backend.Sync()
}

// Fingerprint is a hash of everything in the settings that the weights depend on.
func (s *Settings) Fingerprint() string {
	plain := *s
	plain.Schedules = Schedules{}
	plain.MeasureEvery = 1
	plain.MicroBatches = 1
	text, err := json.Marshal(plain)
	if err != nil {
		panic(err) // numbers and structs of numbers
	}
	c := s.Schedules
	h := sha256.New()
	h.Write(text)
	for _, x := range []optim.Schedule{c.LR, c.WeightDecay, c.Momentum, c.TeacherTemp} {
		fmt.Fprintf(h, "|%T%+v", x, x)
	}
	fmt.Fprintf(h, "|%d %d", c.FreezeLastLayer, c.LastLayer)
	for _, x := range s.objective() {
		fmt.Fprintf(h, "|%T%+v", x, x)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// named is one tensor of a file; the tensor is the live one.
type named struct {
	name string
	x    *tensor.Tensor
}

type stateFileContent struct {
	name    string
	tensors []named
}

// files lists everything that is stored.
func (t *Trainer) files() []stateFileContent {
	params := func(dst []named, prefix string, ps *nn.Params) []named {
		for _, p := range ps.All() {
			if p.Shape.Len() > 0 {
				dst = append(dst, named{prefix + p.Name, p.Value()})
			}
		}
		return dst
	}
	network := func(n *Network) (list []named) {
		for _, p := range n.parts() {
			prefix := ""
			if p.name == "backbone" {
				prefix = "backbone." // heads carry theirs in the names
			}
			list = params(list, prefix, p.params)
		}
		return list
	}
	fs := []stateFileContent{{studentFile, network(t.Student)}}
	if t.Teacher.Rule == RuleEMA { // a frozen teacher is loaded from where it came from
		fs = append(fs, stateFileContent{teacherFile, network(t.Teacher.Network)})
	}
	var moments []named
	for _, m := range t.opt.State() {
		moments = append(moments, named{"m." + m.Name, m.M}, named{"v." + m.Name, m.V})
	}
	fs = append(fs, stateFileContent{optimizerFile, moments})
	var terms []named
	for i := range t.terms {
		for _, x := range t.terms[i].State() {
			terms = append(terms, named{x.Name, x.Tensor})
		}
	}
	fs = append(fs, stateFileContent{centresFile, terms})
	if t.snapshot != nil {
		fs = append(fs, stateFileContent{anchorFile, params(nil, "backbone.", t.snapshot.model.Params)})
	}
	return fs
}

// stored describes a live tensor to the writer; a device tensor is downloaded when its turn comes.
func (t *Trainer) stored(x named) safetensors.Tensor {
	return safetensors.Tensor{
		Name: x.name, DType: safetensors.Of(x.x.DType()), Shape: x.x.Shape(),
		Write: func(w io.Writer) error {
			_, err := w.Write(kernels.ToHost(t.backend, x.x).Bytes())
			return err
		},
	}
}

// check compares the stored tensors with the live ones, by name, type and shape.
func (f stateFileContent) check(dir string) error {
	src, err := safetensors.Open(filepath.Join(dir, f.name))
	if err != nil {
		return err
	}
	defer src.Close()
	want := map[string]*tensor.Tensor{}
	for _, x := range f.tensors {
		want[x.name] = x.x
	}
	var problems []string
	for _, i := range src.Tensors() {
		x, ok := want[i.Name]
		switch {
		case !ok:
			problems = append(problems, fmt.Sprintf("unexpected %s", i))
		case i.DType != safetensors.Of(x.DType()) || !x.Shape().Equal(i.Shape):
			problems = append(problems, fmt.Sprintf("%s, the model has %s%s", i, safetensors.Of(x.DType()), x.Shape()))
		}
		delete(want, i.Name)
	}
	for name := range want {
		problems = append(problems, "missing "+name)
	}
	if len(problems) == 0 {
		return nil
	}
	sort.Strings(problems)
	const most = 8
	if n := len(problems); n > most {
		problems = append(problems[:most], fmt.Sprintf("and %d more", n-most))
	}
	return fmt.Errorf("%s: %s", f.name, strings.Join(problems, "; "))
}

// read fills the live tensors of one file.
func (t *Trainer) read(dir string, f stateFileContent) error {
	src, err := safetensors.Open(filepath.Join(dir, f.name))
	if err != nil {
		return err
	}
	defer src.Close()
	dst := map[string]*tensor.Tensor{}
	for _, x := range f.tensors {
		host := x.x
		if host.Device().Kind != tensor.CPU {
			host = tensor.Zeros(host.DType(), host.Shape()...)
		}
		dst[x.name] = host
	}
	if err := safetensors.Read(src, dst); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(dir, f.name), err)
	}
	for _, x := range f.tensors {
		if host := dst[x.name]; host != x.x {
			t.backend.Upload(x.x, host)
		}
	}
	return nil
}
