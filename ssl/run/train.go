package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dino-mx/dmx/data/loader"
	"github.com/dino-mx/dmx/kernels/device"
	"github.com/dino-mx/dmx/ssl/config"
)

// Options are the settings of a run that are not part of its configuration.
type Options struct {
	// Resume goes on from the newest good checkpoint of the run folder. Without it the folder must hold none.
	Resume bool
	// Device is where to compute, as device.Open spells it; empty is auto.
	Device string
	// Version of the program, for the summary.
	Version string
	// DataFlag is the flag that the command line has for dataset.dataset_path, if it was given: errors of the data then
	// name the flag.
	DataFlag string
	// Log receives every message that also goes to the log file; level is INFO, WARNING or ERROR.
	Log func(level, message string)
	// Step receives the record of every measured step, which is reused: it must not be kept.
	Step func(*Step)

	open func(name string) (*device.Device, error) // in place of device.Open, for tests
}

func (o *Options) openDevice() (*device.Device, error) {
	if o.open != nil {
		return o.open(o.Device)
	}
	return device.Open(o.Device)
}

// Train carries out a configuration. The run lies in FolderOf(c).
//
// When the context ends, a checkpoint of the steps done is written and the error is the context's. Other errors name
// the keys of the configuration that would help. The
// summary is complete when the error is nil; it is never nil once training has begun.
func Train(ctx context.Context, c *config.Config, o Options) (*Summary, error) {
	if done, err := finished(c, o); done != nil || err != nil {
		return done, err
	}
	s, err := start(ctx, c, o)
	if err != nil {
		return nil, o.named(advise(err))
	}
	defer s.close()
	err = s.doubted(s.work(ctx))
	if unreadable := (*loader.UnreadableError)(nil); errors.As(err, &unreadable) {
		err = errors.Join(err, s.skip(unreadable.Samples))
	}
	err = advise(err)
	if err != nil && !errors.Is(err, context.Canceled) {
		s.say("ERROR", err.Error())
		s.discard = s.trainer.Steps() == 0
	}
	return s.summary, o.named(err)
}

// named replaces the configuration's key in an error of the data by the flag that the data were given with.
func (o *Options) named(err error) error {
	if e := (*DataError)(nil); o.DataFlag != "" && errors.As(err, &e) {
		return fmt.Errorf("%s: %w", o.DataFlag, e.Err)
	}
	return err
}

// finished returns the summary of a run that has no steps left, and nil for another: a finished run must not be changed
// when it is started again.
func finished(c *config.Config, o Options) (*Summary, error) {
	if !o.Resume {
		return nil, nil
	}
	sum, err := ReadSummary(FolderOf(c))
	if err != nil || sum == nil || !sum.Finished || sum.Iterations != c.Train.MaxIterations {
		return nil, err
	}
	o.Log("INFO", fmt.Sprintf("%s is finished: all %d steps are done", FolderOf(c), sum.Iterations))
	return sum, nil
}

// work carries out the run: baseline, resume, steps, checkpoint and final evaluation.
func (s *session) work(ctx context.Context) error {
	if err := s.baseline(ctx); err != nil {
		return s.interrupted(err)
	}
	if err := s.restore(); err != nil {
		return err
	}
	if err := s.compareFeatures(ctx); err != nil {
		return s.interrupted(err)
	}
	var err error
	if s.metrics, err = openMetrics(s.folder.file("metrics.jsonl"), s.trainer.Steps()); err != nil {
		return err
	}
	if err := s.steps(ctx); err != nil {
		return err
	}
	if err := s.save(); err != nil {
		return err
	}
	if err := s.measureTeacher(ctx); err != nil {
		return err
	}
	s.summary.Finished = true
	return s.writeSummary()
}

// interrupted leaves a context's end as it is and keeps every other error.
func (s *session) interrupted(err error) error {
	if errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	return err
}

// steps trains until the last step, a signal or an error.
func (s *session) steps(ctx context.Context) error {
	t := &s.c.Train
	for s.trainer.Steps() < t.MaxIterations {
		err := s.step(ctx)
		if errors.Is(err, context.Canceled) {
			if saveErr := s.save(); saveErr != nil {
				return saveErr
			}
			s.say("INFO", fmt.Sprintf("stopped by a signal after step %d", s.trainer.Steps()))
			return context.Canceled
		}
		if err != nil {
			return err
		}
		done := s.trainer.Steps()
		if t.SaveckpFreq > 0 && done%t.SaveckpFreq == 0 && done < t.MaxIterations {
			if err := s.save(); err != nil {
				return err
			}
		}
	}
	return nil
}

// step trains on the next batch and writes its records.
func (s *session) step(ctx context.Context) error {
	begin := time.Now()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	in, err := s.input(ctx)
	if err != nil {
		return err
	}
	done := s.trainer.Steps() + 1
	last := done == s.c.Train.MaxIterations
	evaluate := s.c.Evaluation.Every > 0 && done%s.c.Evaluation.Every == 0
	in.crops.Measure = last || evaluate
	m, err := s.trainer.Step(in.crops)
	in.batch.Release()
	if err != nil {
		return err
	}
	s.count(&m, time.Since(begin), in.wait)
	if !m.Measured {
		return nil
	}
	r := s.record(&m)
	if evaluate {
		if err := s.evaluateNow(ctx, r); err != nil {
			return err
		}
	}
	if err := s.skip(s.loader.Unreadable()); err != nil {
		return err
	}
	if err := s.metrics.write(r); err != nil {
		return err
	}
	if m.Step%s.c.Train.LogEvery == 0 || last {
		if err := s.log.write("INFO", r.Line()); err != nil {
			return err
		}
	}
	for _, w := range r.Warnings {
		s.say("WARNING", w)
	}
	if s.o.Step != nil {
		s.o.Step(r)
	}
	return nil
}
