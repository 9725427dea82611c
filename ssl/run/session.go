package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dino-mx/dmx/data/loader"
	"github.com/dino-mx/dmx/data/source"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/device"
	"github.com/dino-mx/dmx/ssl"
	"github.com/dino-mx/dmx/ssl/checkpoint"
	"github.com/dino-mx/dmx/ssl/config"
	"github.com/dino-mx/dmx/ssl/skipped"
)

// session is one process's work on a run.
type session struct {
	c        *config.Config
	o        Options
	folder   *Folder
	log      *logFile
	metrics  *metricsFile
	pictures *images
	device   *device.Device
	backend  kernels.Backend // of device
	trainer  *ssl.Trainer
	loader   *loader.Loader
	memory   *memory
	summary  *Summary
	skipped  *skipped.List // images that could not be read

	discard    bool   // remove what this process has made: nothing was trained
	devicePeak uint64 // bytes of device memory
	ahead      *input // the batch of the next step, where the device takes it in beside this one
	rec        Step
	since      span // steps since the last record

	began    time.Time
	before   float64       // wall seconds of earlier processes
	trained  time.Duration // in steps
	images   int           // trained on by this process
	peak     float64       // measured GFLOP/s
	peakAt   int           // step at which it was measured
	flops    float64       // of all steps, for the mean MFU
	warnedAt int           // step of the last warning, so that a lasting state is not repeated every step
}

// start opens everything in the order that leaves nothing behind when the input is bad: images and settings
// and model before the run folder.
func start(ctx context.Context, c *config.Config, o Options) (_ *session, err error) {
	im, err := openImages(c, configKeys)
	if err != nil {
		return nil, err
	}
	if err := im.openEval(c); err != nil {
		return nil, err
	}
	initial, err := openInitial(ctx, c, im, o.Log)
	if err != nil {
		return nil, err
	}
	defer initial.close()
	if err := im.measure(c); err != nil {
		return nil, err
	}
	if im.identity, err = im.train.Identity(); err != nil {
		return nil, err
	}
	if initial.weights != nil {
		im.followModel(c, initial.weights.Processor)
	} else {
		im.compareStatistics()
	}
	set, err := settings(c, initial.config)
	if err != nil {
		return nil, err
	}
	if err := set.Validate(); err != nil {
		return nil, err
	}
	transform, err := im.multiCrop(c)
	if err != nil {
		return nil, err
	}
	s := &session{c: c, o: o, pictures: im, began: time.Now(), memory: newMemory(), warnedAt: -1 << 30}
	defer func() {
		if err != nil {
			s.discard = true
			s.close()
		}
	}()
	if s.device, err = o.openDevice(); err != nil {
		return nil, err
	}
	s.backend = s.device.Backend
	im.warnings = append(im.warnings, s.device.Warnings()...)
	var note string
	if s.device.DType, note, err = precision(c.Distribution.MixedPrecision, s.device.DType); err != nil {
		return nil, err
	}
	if note != "" {
		im.warnings = append(im.warnings, note)
	}
	if keys := c.Ineffective(); len(keys) > 0 {
		im.warnings = append(im.warnings, "without effect: "+strings.Join(keys, ", "))
	}
	load := loader.Config{
		Source: im.train, Transform: transform, Seed: uint64(c.Train.Seed), Shuffle: c.Dataset.Shuffle, BatchSize: set.Batch,
		Workers: c.Train.NumWorkers, MaxUnreadableShare: c.Dataset.MaxUnreadableShare,
	}
	if f, ok := s.backend.(kernels.AsyncUploader); ok {
		load.Memory, load.Prefetch = f.Pinned(), feedPrefetch
	}
	if s.loader, err = loader.New(load); err != nil {
		return nil, err
	}
	models, err := ssl.Build(s.backend, s.device.DType, *set, ssl.Sources{Student: initial.source(s.backend)})
	if err != nil {
		return nil, err
	}
	if s.trainer, err = ssl.NewTrainer(models); err != nil {
		return nil, err
	}
	if s.folder, err = open(c); err != nil {
		return nil, err
	}
	if s.log, err = openLog(s.folder.logs()); err != nil {
		return nil, err
	}
	if err = s.openSkipped(); err != nil {
		return nil, err
	}
	if initial.report != nil {
		s.say("INFO", fmt.Sprintf("initial weights %s: %s", initial.weights.Path, initial.report.Summary()))
	}
	if s.summary, err = s.openSummary(); err != nil {
		return nil, err
	}
	s.peak = s.device.Peak()
	s.banner()
	return s, s.leaveOut()
}

// openSummary returns the summary with the measurements of earlier processes of the run.
func (s *session) openSummary() (*Summary, error) {
	sum, err := ReadSummary(s.folder.Path)
	if err != nil {
		return nil, err
	}
	if sum == nil {
		sum = &Summary{}
	}
	s.before = sum.WallSeconds
	sum.Finished = false
	sum.Backend, sum.Version = s.backend.Name(), s.o.Version
	sum.Parameters = 0
	for _, p := range s.trainer.Student.Backbone.Params.All() {
		sum.Parameters += p.Shape.Len()
	}
	return sum, nil
}

// banner logs the data, the model and the device of the run, and the warnings about them.
func (s *session) banner() {
	c, set := s.c, &s.trainer.Settings
	all, trainable := s.trainer.Student.Backbone.Params.Count()
	mem := s.trainer.Memory()
	s.say("INFO", strings.Join([]string{
		fmt.Sprintf("run %s: %s on %s", s.folder.Path, s.trainer.Objective(), c.Dataset.Path),
		fmt.Sprintf("%d images of %d channels, batch %d, %d steps per epoch, %d steps", s.pictures.train.Len(), s.pictures.train.Channels(), set.Batch,
			s.loader.StepsPerEpoch(), c.Train.MaxIterations),
		fmt.Sprintf("backbone %s: width %d, %d blocks, patch %d, %d parameters, %d trainable; %.1f MB of weights, moments and teacher",
			set.Backbone.Family, set.Backbone.Dim, set.Backbone.Depth, set.Backbone.PatchSize, all, trainable, float64(mem.State)/1e6),
		fmt.Sprintf("1 process, %s, %s, peak %.0f GFLOP/s, seed %d, blur %s", s.device.DType, s.device.Text, s.peak, c.Train.Seed, c.Augment.BlurMode),
	}, "\n"))
	for _, line := range s.pictures.readings {
		s.say("INFO", c.Dataset.Path+": "+line)
	}
	for _, w := range s.pictures.warnings {
		s.say("WARNING", w)
	}
	if c.Train.GenerateSamples {
		s.say("WARNING", "train.generate_samples: this version draws no pictures; set it to false to silence this")
	}
}

// say writes a message to the log file and to the caller.
func (s *session) say(level, message string) {
	if s.log != nil {
		if err := s.log.write(level, message); err != nil && level != "ERROR" {
			s.o.Log("ERROR", err.Error())
		}
	}
	s.o.Log(level, message)
}

// checkpoints returns the run's folders of training states and of teachers.
func (s *session) checkpoints() (train, teacher checkpoint.Folder) {
	o := &s.c.Output
	return checkpoint.Folder{Path: s.folder.train(), Keep: o.MaxToKeep, KeepEvery: o.KeepEvery},
		checkpoint.Folder{Path: s.folder.teacher(), Keep: o.MaxToKeep, KeepEvery: o.KeepEvery}
}

// dataFile is the file of a checkpoint that holds the source.Identity of its images.
const dataFile = "data.json"

// restore loads the newest good checkpoint when the run is resumed.
func (s *session) restore() error {
	train, _ := s.checkpoints()
	if !s.o.Resume {
		steps, err := train.Steps()
		if err == nil && len(steps) > 0 {
			err = fmt.Errorf("run folder %s holds checkpoints; resume the run, or give another folder", s.folder.Path)
		}
		return err
	}
	found, damaged, err := train.Newest()
	for _, d := range damaged {
		s.say("WARNING", d.Error())
	}
	if err != nil {
		return err
	}
	if err := s.reportChanges(); err != nil {
		return err
	}
	if found == nil {
		s.say("INFO", "no checkpoint yet: starting from step 0")
		return nil
	}
	same, err := s.trainer.Load(found.Path)
	if err != nil {
		return err
	}
	if !same {
		s.say("WARNING", "the settings are not those the checkpoint was written with: the run will not be the one it would have been")
	}
	var was source.Identity
	text, err := os.ReadFile(filepath.Join(found.Path, dataFile))
	if err == nil {
		err = json.Unmarshal(text, &was)
	}
	if err != nil {
		return fmt.Errorf("checkpoint %s: %w", found.Path, err)
	}
	if was.Samples == "" {
		s.say("INFO", "the checkpoint is of an earlier version, which did not record enough to tell whether the images are the same")
	} else if change := s.pictures.identity.Changes(was); change != "" {
		s.say("WARNING", fmt.Sprintf("the images of %s are not those the run began with: %s", s.c.Dataset.Path, change))
	}
	if n := s.trainer.Steps(); n > s.c.Train.MaxIterations {
		return fmt.Errorf("train.max_iterations: %d: the run has done %d steps already; give a larger number", s.c.Train.MaxIterations, n)
	}
	if err := s.loader.Seek(s.trainer.Steps()); err != nil {
		return err
	}
	s.say("INFO", fmt.Sprintf("resuming %s from iteration %d", found.Path, s.trainer.Steps()))
	return nil
}

// reportChanges warns of every key whose value differs from the one that the run was started with.
func (s *session) reportChanges() error {
	stored, err := Stored(s.folder.Path)
	if err != nil {
		return err
	}
	stored.Output.MainOutput, stored.Train.ModelName = s.c.Output.MainOutput, s.c.Train.ModelName
	for _, d := range config.Diff(stored, s.c) {
		s.say("WARNING", "changed since the run began: "+d)
	}
	return nil
}

// save writes metrics, teacher, training state and summary, in this order: whatever a kill leaves, the newest
// training state has all that belongs to it.
func (s *session) save() error {
	if err := s.metrics.sync(); err != nil {
		return err
	}
	train, teacher := s.checkpoints()
	step := s.trainer.Steps()
	if _, err := teacher.Save(step, s.exportTeacher); err != nil {
		return err
	}
	if _, err := train.Save(step, func(dir string) error {
		text, err := json.Marshal(s.pictures.identity)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, dataFile), append(text, '\n'), 0o666); err != nil {
			return err
		}
		return s.trainer.Save(dir)
	}); err != nil {
		return err
	}
	return s.writeSummary()
}

// writeSummary stores what is known by now.
func (s *session) writeSummary() error {
	sum := s.summary
	sum.Iterations = s.trainer.Steps()
	sum.WallSeconds = s.before + time.Since(s.began).Seconds()
	if s.trained > 0 {
		sum.ImagesPerSecond = float64(s.images) / s.trained.Seconds()
		sum.MFU = s.flops / s.trained.Seconds() / (s.peak * 1e9)
	}
	sum.PeakMemory = max(sum.PeakMemory, s.peakMemory())
	if err := s.skip(s.loader.Unreadable()); err != nil {
		return err
	}
	sum.Unreadable = s.skipped.Len(skipped.Decoding)
	return sum.write(s.folder)
}

// span is a stretch of steps.
type span struct {
	steps      int
	took, wait time.Duration
	flops      float64
}

// count adds a step to the totals of the session.
func (s *session) count(m *ssl.Metrics, took, wait time.Duration) {
	flops := float64(s.trainer.Settings.FLOPs(m.Masked))
	s.flops += flops
	s.trained += took
	s.images += s.trainer.Settings.Batch
	s.since.steps++
	s.since.took += took
	s.since.wait += wait
	s.since.flops += flops
}

// record fills the session's record with what a step measured. Times are means over the steps since the last record:
// on a device the steps between are asked for, not waited for.
func (s *session) record(m *ssl.Metrics) *Step {
	set := &s.trainer.Settings
	if m.Step-s.peakAt >= 100 {
		s.peak, s.peakAt = s.device.Peak(), m.Step
	}
	n := float64(s.since.steps)
	seconds, wait, flops := s.since.took.Seconds()/n, s.since.wait.Seconds()/n, s.since.flops/n
	s.since = span{}
	used, total := s.memoryNow()
	s.rec = Step{
		Iteration: m.Step, Iterations: s.c.Train.MaxIterations,
		Epoch: float64(m.Step+1) / float64(s.loader.StepsPerEpoch()),
		Loss:  number(m.Loss),
		LR:    number(m.LR), WeightDecay: number(m.WeightDecay), Momentum: number(m.Momentum), TeacherTemp: number(m.TeacherTemp),
		StudentTemp: number(set.Targets.StudentTemp), GradNorm: number(m.Norm), BatchSize: set.Batch,
		ImagesPerSecond: number(float64(set.Batch) / seconds), StepSeconds: number(seconds), DataWaitSeconds: number(wait),
		MFU: number(flops / seconds / (s.peak * 1e9)), Memory: used, MemoryTotal: total, Skipped: m.Skipped,
	}
	r := &s.rec
	for _, l := range m.Losses {
		r.Losses = append(r.Losses, Part{Key: l.Key, Value: number(l.Value)})
	}
	if m.Watched {
		std, entropy, target, kl := number(m.FeatureStd), number(m.PrototypeEntropy), number(m.TargetEntropy), number(m.KL)
		r.FeatureStd, r.PrototypeEntropy, r.TargetEntropy, r.KL = &std, &entropy, &target, &kl
	}
	if m.Skipped {
		r.Warnings = append(r.Warnings, fmt.Sprintf("step %d was skipped: its loss or a gradient is not finite; nothing was updated", m.Step))
	}
	if len(m.Collapses) > 0 && m.Step-s.warnedAt >= max(s.c.Train.LogEvery, 100) {
		s.warnedAt = m.Step
		for _, c := range m.Collapses {
			r.Warnings = append(r.Warnings, c.String()+": "+collapseAdvice[c.Kind])
		}
	}
	s.summary.FinalLoss = &r.Loss
	return r
}

// close closes files, loader, device and lock. The summary stays valid.
func (s *session) close() {
	var errs []error
	if s.ahead != nil && s.ahead.batch != nil {
		s.ahead.batch.Release()
	}
	if s.loader != nil {
		s.loader.Close()
	}
	if s.metrics != nil {
		errs = append(errs, s.metrics.close())
	}
	if s.device != nil {
		s.device.Close()
	}
	s.memory.close()
	if err := errors.Join(errs...); err != nil {
		s.say("ERROR", err.Error())
	}
	if s.log != nil {
		s.log.close()
	}
	if s.folder != nil {
		if s.discard {
			s.folder.discard()
		}
		s.folder.Close()
	}
}
