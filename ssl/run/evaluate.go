package run

import (
	"context"
	"fmt"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/data/loader"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/device"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/ssl/config"
	"github.com/dino-mx/dmx/ssl/eval"
	"github.com/dino-mx/dmx/tensor"
)

// wholeImages loads every image of a source once, in order.
func wholeImages(c *config.Config, src data.Source, transform data.Transform) (*loader.Loader, error) {
	return loader.New(loader.Config{
		Source: src, Transform: transform, BatchSize: min(c.Evaluation.BatchSize, src.Len()), KeepLast: true, Epochs: 1,
		Workers: c.Train.NumWorkers, MaxUnreadableShare: c.Dataset.MaxUnreadableShare,
	})
}

// extract is the features of every image of a source. v works in the device's type.
func extract(ctx context.Context, c *config.Config, d *device.Device, v *nn.ViT, src data.Source, transform data.Transform) (*eval.Features, error) {
	l, err := wholeImages(c, src, transform)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	return eval.Extract(ctx, nn.Builder{Backend: d.Backend, DType: d.DType}, v, l, src.Len())
}

// accuracies are the kNN accuracies of one backbone in percent.
type accuracies struct{ cls, meanPatch float64 }

// knn classifies the queries by their neighbours in the bank.
func knn(ctx context.Context, c *config.Config, d *device.Device, v *nn.ViT, bank, queries data.Source, transform data.Transform) (a accuracies, err error) {
	known, err := extract(ctx, c, d, v, bank, transform)
	if err != nil {
		return a, err
	}
	asked, err := extract(ctx, c, d, v, queries, transform)
	if err != nil {
		return a, err
	}
	k := eval.KNN{K: c.Evaluation.KNNK, Temperature: c.Evaluation.KNNTemperature}
	if a.cls, err = k.Accuracy(d.Backend, known.CLS, asked.CLS); err != nil {
		return a, err
	}
	a.meanPatch, err = k.Accuracy(d.Backend, known.MeanPatch, asked.MeanPatch)
	return accuracies{100 * a.cls, 100 * a.meanPatch}, err
}

// rawPixels is the accuracy of the images themselves, mean-centred.
func rawPixels(ctx context.Context, c *config.Config, b kernels.Backend, bank, queries data.Source, transform data.Transform) (float64, error) {
	var sets [2]eval.Set
	for i, src := range []data.Source{bank, queries} {
		l, err := wholeImages(c, src, transform)
		if err != nil {
			return 0, err
		}
		sets[i], err = eval.Pixels(ctx, l, src.Len())
		l.Close()
		if err != nil {
			return 0, err
		}
	}
	centre(sets[0].X, sets[1].X)
	a, err := eval.KNN{K: c.Evaluation.KNNK, Temperature: c.Evaluation.KNNTemperature}.Accuracy(b, sets[0], sets[1])
	return 100 * a, err
}

// centre subtracts the mean row of bank from bank and queries.
func centre(bank, queries *tensor.Tensor) {
	n, d := bank.Dim(0), bank.Dim(1)
	mean := make([]float64, d)
	for i, x := range bank.F32() {
		mean[i%d] += float64(x)
	}
	for _, t := range []*tensor.Tensor{bank, queries} {
		x := t.F32()
		for i := range x {
			x[i] -= float32(mean[i%d] / float64(n))
		}
	}
}

// baseline measures raw pixels and the untrained backbone, once in a run: before the checkpoint is loaded, student
// and teacher are what they were at step 0.
func (s *session) baseline(ctx context.Context) error {
	im, c := s.pictures, s.c
	if im.eval == nil || s.summary.KNN != nil {
		return nil
	}
	transform, err := im.whole(c)
	if err != nil {
		return err
	}
	raw, err := rawPixels(ctx, c, s.backend, im.train, im.eval, transform)
	if err != nil {
		return fmt.Errorf("evaluation: %w", err)
	}
	untrained, err := knn(ctx, c, s.device, s.trainer.Teacher.Backbone, im.train, im.eval, transform)
	if err != nil {
		return fmt.Errorf("evaluation: %w", err)
	}
	s.summary.KNN = &KNNSummary{
		Raw: &raw, Untrained: &untrained.cls, UntrainedMeanPatch: &untrained.meanPatch,
		K: c.Evaluation.KNNK, Bank: im.train.Len(), Queries: im.eval.Len(), Split: im.evalSplit,
	}
	s.say("INFO", fmt.Sprintf("kNN-%d on split %s before training: raw pixels %.1f %%, untrained CLS %.1f %%, mean patch %.1f %%",
		c.Evaluation.KNNK, im.evalSplit, raw, untrained.cls, untrained.meanPatch))
	return s.writeSummary()
}

// teacherKNN is the accuracy of the teacher as it is.
func (s *session) teacherKNN(ctx context.Context) (accuracies, error) {
	transform, err := s.pictures.whole(s.c)
	if err != nil {
		return accuracies{}, err
	}
	a, err := knn(ctx, s.c, s.device, s.trainer.Teacher.Backbone, s.pictures.train, s.pictures.eval, transform)
	if err != nil {
		return a, fmt.Errorf("evaluation: %w", err)
	}
	s.say("INFO", fmt.Sprintf("kNN-%d on split %s after step %d: CLS %.1f %%, mean patch %.1f %%",
		s.c.Evaluation.KNNK, s.pictures.evalSplit, s.trainer.Steps(), a.cls, a.meanPatch))
	return a, nil
}

// measureTeacher ends the summary.
func (s *session) measureTeacher(ctx context.Context) error {
	if s.pictures.eval == nil {
		return nil
	}
	a, err := s.teacherKNN(ctx)
	if err != nil {
		return err
	}
	s.summary.KNN.Teacher, s.summary.KNN.TeacherMeanPatch = &a.cls, &a.meanPatch
	return nil
}

// evaluateNow adds the teacher's accuracy to a step's record.
func (s *session) evaluateNow(ctx context.Context, r *Step) error {
	if s.pictures.eval == nil {
		return nil
	}
	a, err := s.teacherKNN(ctx)
	if err != nil {
		return err
	}
	cls, mean := number(a.cls), number(a.meanPatch)
	r.KNNCLS, r.KNNMeanPatch = &cls, &mean
	return nil
}
