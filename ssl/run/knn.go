package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dino-mx/dmx/data/loader"
	"github.com/dino-mx/dmx/kernels/device"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/hf"
	"github.com/dino-mx/dmx/ssl/checkpoint"
	"github.com/dino-mx/dmx/ssl/config"
	"github.com/dino-mx/dmx/ssl/eval"
	"github.com/dino-mx/dmx/ssl/skipped"
	"github.com/dino-mx/dmx/tensor"
)

// KNNOptions say how a saved backbone is evaluated.
type KNNOptions struct {
	// Checkpoint is a run folder, whose newest teacher is taken, or a folder in Hugging Face form.
	Checkpoint string
	Open       hf.OpenOptions
	Allow      hf.Allow
	Data       string // as config.Dataset.Path
	Layout     string // as config.Dataset.Layout
	Bank       string // split of the labelled neighbours
	Queries    string // split that is classified; auto takes test, else val
	K          int
	Temp       float64
	BatchSize  int
	Workers    int
	Device     string // as device.Open spells it
	// Log receives messages; level is INFO or WARNING.
	Log func(level, message string)
}

// KNN measures a saved backbone and raw pixels.
func KNN(ctx context.Context, o KNNOptions) (_ *KNNSummary, _ string, err error) {
	path, err := teacherPath(o.Checkpoint, o.Log)
	if err != nil {
		return nil, "", err
	}
	model, err := OpenModel(path, o.Open)
	if err != nil {
		return nil, "", fmt.Errorf("--checkpoint: %w", err)
	}
	defer model.Close()
	for _, why := range []string{model.Config.Assumed, model.Processor.Assumed} {
		if why != "" {
			o.Log("INFO", why)
		}
	}
	c := config.Default()
	c.Dataset.Path, c.Dataset.TrainSplit, c.Dataset.EvalSplit = o.Data, o.Bank, o.Queries
	c.Dataset.Mean, c.Dataset.Std = perChannel(model.Processor.Mean, model.Config.Channels), perChannel(model.Processor.Std, model.Config.Channels)
	c.Evaluation.KNN, c.Evaluation.KNNK, c.Evaluation.KNNTemperature, c.Evaluation.BatchSize = true, o.K, o.Temp, o.BatchSize
	c.Train.NumWorkers = o.Workers
	named := (&Options{DataFlag: "--data"}).named
	c.Dataset.Layout, c.Model.NumChannels = o.Layout, model.Config.Channels
	im, err := openImages(c, imageKeys{"--layout", "--split", "--data"})
	if err != nil {
		return nil, "", named(err)
	}
	if err := im.openEval(c); err != nil {
		return nil, "", named(err)
	}
	if im.eval == nil {
		return nil, "", errors.New(im.warnings[len(im.warnings)-1])
	}
	for _, line := range im.readings {
		o.Log("INFO", o.Data+": "+line)
	}
	for _, line := range im.warnings {
		o.Log("WARNING", line)
	}
	if n := im.train.Channels(); n != model.Config.Channels {
		return nil, "", fmt.Errorf("--data: %s has %d channels, the model of %s takes %d", o.Data, n, path, model.Config.Channels)
	}
	transform, err := eval.NewView(model.Processor, model.Config.Channels, 0)
	if err != nil {
		return nil, "", fmt.Errorf("--checkpoint: %s: %w", path, err)
	}
	d, err := device.Open(o.Device)
	if err != nil {
		return nil, "", err
	}
	defer d.Close()
	for _, w := range d.Warnings() {
		o.Log("WARNING", w)
	}
	v, _, err := model.BuildViews(nn.Builder{Backend: d.Backend, DType: d.DType}, o.Allow)
	if err != nil {
		return nil, "", fmt.Errorf("--checkpoint: %w", err)
	}
	defer tensor.GuardMapped(&err)()
	e := evaluator{c, d, o.skip()}
	raw, err := e.rawPixels(ctx, im.train, im.eval, transform)
	if err != nil {
		return nil, "", err
	}
	a, err := e.knn(ctx, v, im.train, im.eval, transform)
	if errors.As(err, new(*eval.NonFiniteError)) {
		err = model.NameNonFinite(err)
	}
	if err == nil {
		err = model.Unchanged()
	}
	if err != nil {
		return nil, "", err
	}
	return &KNNSummary{
		Raw: &raw, Teacher: &a.cls, TeacherMeanPatch: &a.meanPatch, K: o.K, Bank: im.train.Len(), Queries: im.eval.Len(), Split: im.evalSplit,
	}, path, nil
}

// OpenModel opens a model for reading. Bytes that differ from the manifest that a run has written beside them are an
// error.
func OpenModel(path string, o hf.OpenOptions) (*hf.Checkpoint, error) {
	if err := checkpoint.VerifyModel(path); err != nil {
		return nil, err
	}
	return hf.Open(path, o)
}

// skip returns a function that warns of the images that could not be read, each once.
func (o *KNNOptions) skip() func([]loader.Unreadable) error {
	var list skipped.List
	return func(images []loader.Unreadable) error {
		for _, u := range images {
			list.Add(skipped.Image{ID: u.ID, Stage: skipped.Decoding, Reason: u.Err.Error()})
		}
		warnings, err := list.News()
		for _, w := range warnings {
			o.Log("WARNING", w)
		}
		return err
	}
}

// teacherPath returns the folder with the weights: the newest whole teacher of a run folder, or the path itself. Newer
// teachers that are damaged are named in the log.
func teacherPath(path string, log func(level, message string)) (string, error) {
	if st, err := os.Stat(path); err == nil && !st.IsDir() {
		return path, nil
	}
	held, err := Holds(path)
	if err != nil {
		return "", err
	}
	if !held {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("--checkpoint: %s does not exist; give a run folder, one of its teacher_checkpoints/iter_N, or a model folder", path)
		}
		return path, nil
	}
	c, err := Stored(path)
	if err != nil {
		return "", err
	}
	found, damaged, err := checkpoint.Folder{Path: filepath.Join(path, c.Output.TeacherCheckpointDir)}.Newest()
	if err != nil {
		return "", fmt.Errorf("--checkpoint: %w", err)
	}
	if found == nil {
		return "", fmt.Errorf("--checkpoint: the run in %s has not saved a teacher yet", path)
	}
	for _, d := range damaged {
		log("WARNING", fmt.Sprintf("%v; taking the older %s", d, found.Path))
	}
	return found.Path, nil
}
