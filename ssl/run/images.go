package run

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/data/augment"
	"github.com/dino-mx/dmx/data/source"
	"github.com/dino-mx/dmx/data/stats"
	"github.com/dino-mx/dmx/nn/hf"
	"github.com/dino-mx/dmx/ssl/config"
)

// images are the inputs of a run: the training source, its statistics, and the evaluation source.
type images struct {
	train     *source.Dataset
	eval      *source.Dataset // nil when there is no evaluation split
	evalSplit string
	mean, std []float64
	stats     stats.Statistics // of the images themselves
	identity  source.Identity
	readings  []string // how each split was read, in one line
	warnings  []string
	keys      imageKeys
}

// measured is the number of images whose statistics are measured.
const measured = 2000

// DataError is an error of the images that dataset.dataset_path names.
type DataError struct{ Err error }

func (e *DataError) Error() string { return "dataset.dataset_path: " + e.Err.Error() }
func (e *DataError) Unwrap() error { return e.Err }

// imageKeys are the names of the settings that choose the images: keys of a configuration, or flags.
type imageKeys struct{ layout, evalSplit, knn string }

var configKeys = imageKeys{"dataset.layout", "dataset.eval_split", "evaluation.knn"}

// openImages opens the training split of a configuration.
func openImages(c *config.Config, keys imageKeys) (*images, error) {
	d := &c.Dataset
	split := d.TrainSplit
	if split == "train" {
		split = "" // the default, which does not say that a folder of this name is a split
	}
	src, err := keys.open(c, split, c.Model.NumChannels)
	if err != nil {
		return nil, err
	}
	if src.Len() == 0 {
		return nil, &DataError{fmt.Errorf("%s: no images in split %s; give a folder with PNG or JPEG files, IDX files "+
			"or an .npz file", d.Path, d.TrainSplit)}
	}
	return &images{train: src, mean: d.Mean, std: d.Std, keys: keys, readings: []string{src.Reading()}}, nil
}

// open opens one split of a configuration's images. The error names the key that is to be changed.
func (k imageKeys) open(c *config.Config, split string, channels int) (*source.Dataset, error) {
	layout, err := layouts.value(c.Dataset.Layout)
	if err != nil {
		return nil, err
	}
	src, err := source.Open(c.Dataset.Path, source.Options{Split: split, Layout: layout, Channels: channels})
	if ambiguous := (*source.Ambiguous)(nil); errors.As(err, &ambiguous) {
		return nil, fmt.Errorf("%s: %w", k.layout, err)
	}
	if err != nil && c.Dataset.Path == config.Default().Dataset.Path {
		err = fmt.Errorf("%w; this is the default of DINO-MX, as no path was given: set dataset.dataset_path, or give --data", err)
	}
	if err != nil {
		return nil, &DataError{err}
	}
	return src, nil
}

// setChannels decodes the images with the number of channels of a model. The error says why they cannot have it.
func (im *images) setChannels(channels int) error {
	err := im.train.SetChannels(channels)
	if err == nil && im.eval != nil {
		err = im.eval.SetChannels(channels)
	}
	return err
}

// measure measures the mean and standard deviation of the images, and uses them where the configuration gives none.
func (im *images) measure(c *config.Config) (err error) {
	if im.stats, err = stats.Measure(im.train, measured); err != nil {
		return &DataError{err}
	}
	if len(c.Dataset.Mean) == 0 {
		im.mean, im.std = im.stats.Mean, im.stats.Std
	}
	for i, s := range im.std {
		if !(s > 0) {
			return fmt.Errorf("dataset.std: channel %d of %s has standard deviation %v; give dataset.mean and dataset.std, or images that are not all of one colour",
				i, c.Dataset.Path, s)
		}
	}
	return nil
}

// compareStatistics warns when the configuration describes other images.
func (im *images) compareStatistics() {
	got := im.stats
	for i, m := range got.Mean {
		want := im.mean[min(i, len(im.mean)-1)]
		if math.Abs(m-want) > .1 {
			im.warnings = append(im.warnings,
				fmt.Sprintf("dataset.mean: channel %d of the images has mean %.3f, the configuration says %.3f; "+
					"set dataset.mean=%s dataset.std=%s", i, m, want, list(got.Mean), list(got.Std)))
			return
		}
	}
}

// followModel uses the normalisation that the initial weights were trained with where the configuration gives none, and
// warns where it gives another: the first layer would see pixels of an unknown scale.
func (im *images) followModel(c *config.Config, p *hf.Processor) {
	n := im.train.Channels()
	mean, std := perChannel(p.Mean, n), perChannel(p.Std, n)
	if len(c.Dataset.Mean) == 0 {
		im.mean, im.std = mean, std
		return
	}
	for i, want := range perChannel(im.mean, n) {
		if deviation := perChannel(im.std, n)[i]; math.Abs(want-mean[i]) > .05 || math.Abs(deviation-std[i]) > .05 {
			im.warnings = append(im.warnings,
				fmt.Sprintf("dataset.mean, dataset.std: channel %d is normalised with %.3f and %.3f, the initial weights were trained with %.3f and %.3f; "+
					"set dataset.mean=%s dataset.std=%s", i, want, deviation, mean[i], std[i], list(mean), list(std)))
			return
		}
	}
}

func list(x []float64) string {
	parts := make([]string, len(x))
	for i, v := range x {
		parts[i] = fmt.Sprintf("%.4f", v)
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// openEval opens the evaluation split, if there is one with labels, and joins its classes with those of the training
// split by name. A missing split, one that shares no class, and names that do not meet are worth a warning; a damaged
// split is an error.
func (im *images) openEval(c *config.Config) error {
	if !c.Evaluation.KNN {
		return nil
	}
	if len(im.train.Classes()) < 2 {
		im.warn("%s: the images have %s, so no kNN accuracy is measured", im.keys.knn, some(im.train.Classes()))
		return nil
	}
	splits := []string{c.Dataset.EvalSplit}
	if c.Dataset.EvalSplit == "auto" {
		splits = []string{"test", "val"}
	}
	for _, split := range splits {
		src, err := im.keys.open(c, split, im.train.Channels())
		if errors.Is(err, source.ErrNoSplit) {
			continue
		}
		if err != nil {
			return err
		}
		im.eval, im.evalSplit = src, split
		im.readings = append(im.readings, src.Reading())
		im.joinClasses(c)
		return nil
	}
	im.warn("%s: %s has no split %s, so no kNN accuracy is measured",
		im.keys.knn, c.Dataset.Path, strings.Join(splits, " or "))
	return nil
}

// joinClasses numbers the classes of the evaluation split as those of the training split.
func (im *images) joinClasses(c *config.Config) {
	key, train := im.keys.evalSplit, c.Dataset.TrainSplit
	onlyTrain, onlyEval := source.Join(im.train, im.eval)
	if len(onlyTrain) == len(im.train.Classes()) {
		im.warn("%s: no kNN accuracy is measured: split %s has %s, split %s has %s, and no class is in both",
			key, im.evalSplit, some(onlyEval), train, some(onlyTrain))
		im.eval = nil
		return
	}
	if len(onlyEval) > 0 {
		im.warn("%s: classes of split %s that split %s lacks count as wrong: %s", key, im.evalSplit, train, some(onlyEval))
	}
	if len(onlyTrain) > 0 {
		im.warn("%s: classes of split %s without an image in split %s: %s", key, train, im.evalSplit, some(onlyTrain))
	}
}

func (im *images) warn(format string, args ...any) {
	im.warnings = append(im.warnings, fmt.Sprintf(format, args...))
}

// some lists the names of classes, the first few of many.
func some(names []string) string {
	const most = 10
	switch {
	case len(names) == 0:
		return "no classes"
	case len(names) == 1:
		return "the class " + names[0]
	case len(names) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// multiCrop returns the training augmentation.
func (im *images) multiCrop(c *config.Config) (data.Transform, error) {
	cr, a := &c.Crops, &c.Augment
	blur, err := blurMode.value(a.BlurMode)
	if err != nil {
		return nil, err
	}
	filter, err := interpolation.value(a.Interpolation)
	if err != nil {
		return nil, err
	}
	var views []augment.View
	for _, spec := range viewSpecs(cr) {
		v := augment.View{ViewSpec: spec, Scale: cr.GlobalCropsScale, Blur: blur[spec.Role]}
		v.Solarise = []float64{0, a.SolariseProb, 0}
		if spec.Role == data.Local {
			v.Scale, v.Solarise = cr.LocalCropsScale, nil
		}
		views = append(views, v)
	}
	return augment.NewMultiCrop(augment.Config{
		Channels:       im.train.Channels(),
		Views:          views,
		Filter:         filter,
		HorizontalFlip: a.HorizontalFlip, VerticalFlip: a.VerticalFlip,
		JitterProb: a.JitterProb, Brightness: a.Brightness, Contrast: a.Contrast, Saturation: a.Saturation, Hue: a.Hue,
		GrayProb: a.GrayProb, BlurSigma: a.BlurSigma,
		GammaProb: cr.GammaProb, GammaRange: cr.GammaRange, Mean: im.mean, Std: im.std,
	})
}

// whole returns the transform of a whole picture, for evaluation.
func (im *images) whole(c *config.Config) (data.Transform, error) {
	return wholeTransform(c, im.train.Channels(), im.mean, im.std)
}

// wholeTransform resizes the shorter side to dataset.size and cuts the centre of a global crop's size, or, with
// dataset.resize, resizes the whole picture to dataset.size.
func wholeTransform(c *config.Config, channels int, mean, std []float64) (data.Transform, error) {
	filter, err := interpolation.value(c.Augment.Interpolation)
	if err != nil {
		return nil, err
	}
	w := augment.WholeConfig{
		Channels: channels, Height: c.Crops.GlobalCropsSize, Width: c.Crops.GlobalCropsSize,
		ShortSide: min(c.Dataset.Size[0], c.Dataset.Size[1]), Filter: filter, Mean: mean, Std: std,
	}
	w.ShortSide = max(w.ShortSide, w.Height)
	if c.Dataset.Resize {
		w.Height, w.Width, w.ShortSide = c.Dataset.Size[0], c.Dataset.Size[1], 0
	}
	return augment.NewWhole(w)
}
