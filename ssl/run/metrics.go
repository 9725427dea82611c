package run

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
)

// Step is what one step measured: a record of metrics.jsonl. Losses are weighted contributions and sum to
// Loss. A value that is not finite is written as null.
type Step struct {
	Iteration        int      `json:"iteration"` // counted from 0: the index used in the schedules
	Iterations       int      `json:"iterations"`
	Epoch            float64  `json:"epoch"`
	Loss             number   `json:"loss"`
	Losses           []Part   `json:"-"` // written under their keys; see MarshalJSON
	LR               number   `json:"lr"`
	WeightDecay      number   `json:"weight_decay"`
	Momentum         number   `json:"teacher_momentum"`
	TeacherTemp      number   `json:"teacher_temp"`
	StudentTemp      number   `json:"student_temp"`
	GradNorm         number   `json:"grad_norm"` // before clipping
	FeatureStd       *number  `json:"feature_std,omitempty"`
	PrototypeEntropy *number  `json:"prototype_entropy,omitempty"` // over ln K
	TargetEntropy    *number  `json:"target_entropy,omitempty"`    // of single targets, over ln K
	KL               *number  `json:"kl,omitempty"`                // teacher from student, nats
	KNNCLS           *number  `json:"knn_cls,omitempty"`           // percent
	KNNMeanPatch     *number  `json:"knn_mean_patch,omitempty"`
	BatchSize        int      `json:"batch_size"`
	ImagesPerSecond  number   `json:"images_per_second"`
	StepSeconds      number   `json:"step_seconds"`
	DataWaitSeconds  number   `json:"data_wait_seconds"`
	MFU              number   `json:"mfu"` // model FLOP/s over the measured peak
	Memory           uint64   `json:"memory_bytes"`
	MemoryTotal      uint64   `json:"memory_total_bytes"`
	Skipped          bool     `json:"skipped,omitempty"` // the loss or a gradient was not finite; nothing was updated
	Warnings         []string `json:"warnings,omitempty"`
}

// Part is one weighted contribution to the loss, under its key in the record.
type Part struct {
	Key   string
	Value number
}

// partLabels are the names of losses in the log line; another term has its key there.
var partLabels = map[string]string{
	"dino_local": "Local DINO", "dino_global": "Global DINO", "ibot": "iBOT", "koleo": "KoLeo", "gram": "Gram",
}

func (p Part) label() string {
	if l, ok := partLabels[p.Key]; ok {
		return l
	}
	return p.Key
}

// parts lists the losses as records have them: those of DINO and iBOT always, local before global, then the others in
// the order of the objective.
func (s *Step) parts() []Part {
	list := []Part{{Key: "dino_local"}, {Key: "dino_global"}, {Key: "ibot"}}
	for _, p := range s.Losses {
		if i := slices.IndexFunc(list[:3], func(q Part) bool { return q.Key == p.Key }); i >= 0 {
			list[i] = p
			continue
		}
		list = append(list, p)
	}
	return list
}

// MarshalJSON writes the record with each of the losses under its own key.
func (s *Step) MarshalJSON() ([]byte, error) {
	type fields Step // without the method
	text, err := json.Marshal((*fields)(s))
	if err != nil {
		return nil, err
	}
	// The losses follow "loss", as a reader expects them.
	var b bytes.Buffer
	loss, err := json.Marshal(s.Loss)
	if err != nil {
		return nil, err
	}
	head, tail, ok := bytes.Cut(text, append([]byte(`"loss":`), loss...))
	if !ok {
		return nil, errors.New("metrics: a record without its loss")
	}
	b.Write(head)
	b.WriteString(`"loss":`)
	b.Write(loss)
	for _, p := range s.parts() {
		key, err := json.Marshal(p.Key)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(p.Value)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, ",%s:%s", key, value)
	}
	b.Write(tail)
	return b.Bytes(), nil
}

// number is a float64 that JSON can hold: NaN and infinities become null.
type number float64

// MarshalJSON writes the number, or null when it is not finite.
func (n number) MarshalJSON() ([]byte, error) {
	if x := float64(n); math.IsNaN(x) || math.IsInf(x, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// UnmarshalJSON reads null as NaN.
func (n *number) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*n = number(math.NaN())
		return nil
	}
	return json.Unmarshal(text, (*float64)(n))
}

// metricsFile appends records to metrics.jsonl.
type metricsFile struct{ file *os.File }

// openMetrics opens the file of a run whose checkpoint was written after the given number of steps. Records of later
// steps, which a killed run has left, and an incomplete last line are removed.
func openMetrics(path string, steps int) (*metricsFile, error) {
	keep, err := keptBytes(path, steps)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	if err := f.Truncate(keep); err != nil {
		f.Close()
		return nil, fmt.Errorf("metrics: %w", err)
	}
	if _, err := f.Seek(keep, io.SeekStart); err != nil {
		f.Close()
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return &metricsFile{file: f}, nil
}

// keptBytes returns the length of the leading records whose iteration is below steps.
func keptBytes(path string, steps int) (int64, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var keep int64
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return 0, err
		}
		var record struct {
			Iteration *int `json:"iteration"`
		}
		if !bytes.HasSuffix(line, []byte("\n")) || json.Unmarshal(line, &record) != nil || record.Iteration == nil || *record.Iteration >= steps {
			return keep, nil
		}
		keep += int64(len(line))
	}
}

func (m *metricsFile) write(s *Step) error {
	line, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	if _, err := m.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

// sync makes everything written so far survive a crash; it is called before a checkpoint is written, so that
// the metrics never lag behind one.
func (m *metricsFile) sync() error {
	if err := m.file.Sync(); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

func (m *metricsFile) close() error { return m.file.Close() }
