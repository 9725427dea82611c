package run

import (
	"context"
	"errors"
	"fmt"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/data/loader"
	"github.com/dino-mx/dmx/kernels/device"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/ssl/config"
	"github.com/dino-mx/dmx/ssl/eval"
	"github.com/dino-mx/dmx/tensor"
)

// evaluator measures backbones on a device as a configuration says.
type evaluator struct {
	c *config.Config
	d *device.Device
	// skip is told which images could not be read; they are replaced by their neighbours.
	skip func([]loader.Unreadable) error
}

// each loads every image of a source once, in order, and gives the loader to use.
func (e *evaluator) each(src data.Source, transform data.Transform, use func(l *loader.Loader) error) error {
	l, err := loader.New(loader.Config{
		Source: src, Transform: transform, BatchSize: min(e.c.Evaluation.BatchSize, src.Len()), KeepLast: true, Epochs: 1,
		Workers: e.c.Train.NumWorkers, MaxUnreadableShare: e.c.Dataset.MaxUnreadableShare,
	})
	if err != nil {
		return err
	}
	defer l.Close()
	return errors.Join(use(l), e.skip(l.Unreadable()))
}

// extract returns the features of every image of a source. v works in the device's type.
func (e *evaluator) extract(ctx context.Context, v *nn.ViT, src data.Source, transform data.Transform) (f *eval.Features, err error) {
	err = e.each(src, transform, func(l *loader.Loader) (err error) {
		f, err = eval.Extract(ctx, nn.Builder{Backend: e.d.Backend, DType: e.d.DType}, v, l, src.Len())
		return err
	})
	return f, err
}

// accuracies are the kNN accuracies of one backbone in percent.
type accuracies struct{ cls, meanPatch float64 }

func (e *evaluator) classifier() eval.KNN {
	return eval.KNN{K: e.c.Evaluation.KNNK, Temperature: e.c.Evaluation.KNNTemperature}
}

// knn classifies the queries by their neighbours in the bank.
func (e *evaluator) knn(ctx context.Context, v *nn.ViT, bank, queries data.Source, transform data.Transform) (a accuracies, err error) {
	known, err := e.extract(ctx, v, bank, transform)
	if err != nil {
		return a, err
	}
	asked, err := e.extract(ctx, v, queries, transform)
	if err != nil {
		return a, err
	}
	if a.cls, err = e.classifier().Accuracy(e.d.Backend, known.CLS, asked.CLS); err != nil {
		return a, err
	}
	a.meanPatch, err = e.classifier().Accuracy(e.d.Backend, known.MeanPatch, asked.MeanPatch)
	return accuracies{100 * a.cls, 100 * a.meanPatch}, err
}

// rawPixels returns the accuracy of the images themselves, mean-centred, in percent.
func (e *evaluator) rawPixels(ctx context.Context, bank, queries data.Source, transform data.Transform) (float64, error) {
	var sets [2]eval.Set
	for i, src := range []data.Source{bank, queries} {
		err := e.each(src, transform, func(l *loader.Loader) (err error) {
			sets[i], err = eval.Pixels(ctx, l, src.Len())
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	centre(sets[0].X, sets[1].X)
	a, err := e.classifier().Accuracy(e.d.Backend, sets[0], sets[1])
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

func (s *session) evaluator() *evaluator { return &evaluator{s.c, s.device, s.skip} }

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
	raw, err := s.evaluator().rawPixels(ctx, im.train, im.eval, transform)
	if err != nil {
		return fmt.Errorf("evaluation: %w", err)
	}
	untrained, err := s.evaluator().knn(ctx, s.trainer.Teacher.Backbone, im.train, im.eval, transform)
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

// teacherKNN returns the kNN accuracy of the teacher after the steps done so far.
func (s *session) teacherKNN(ctx context.Context) (accuracies, error) {
	transform, err := s.pictures.whole(s.c)
	if err != nil {
		return accuracies{}, err
	}
	a, err := s.evaluator().knn(ctx, s.trainer.Teacher.Backbone, s.pictures.train, s.pictures.eval, transform)
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
