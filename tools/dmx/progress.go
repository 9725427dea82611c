package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/dino-mx/dmx/ssl/config"
	"github.com/dino-mx/dmx/ssl/run"
)

// progress shows a run on standard error: a bar on a terminal, plain lines elsewhere.
type progress struct {
	w     io.Writer
	total int
	every int // steps between plain lines
	bar   *progressbar.ProgressBar
	done  int
	shown int // done when something was last shown
	rate  mean
	wait  mean
	mfu   mean
	last  time.Time // when something was shown
	first time.Time // when the first step of this process ended
	from  int       // that step
}

func newProgress(w io.Writer, cfg *config.Config) *progress {
	p := &progress{w: w, total: cfg.Train.MaxIterations, every: max(cfg.Train.LogEvery, cfg.Train.MaxIterations/100)}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.bar = progressbar.NewOptions(p.total,
			progressbar.OptionSetWriter(w),
			progressbar.OptionSetWidth(20),
			progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish(),
		)
	}
	return p
}

// log shows a message of the run, above the bar where there is one.
func (p *progress) log(level, message string) {
	if p.bar != nil {
		p.bar.Clear()
	}
	prefix := ""
	if level != "INFO" {
		prefix = strings.ToLower(level) + ": "
	}
	for _, line := range strings.Split(message, "\n") {
		fmt.Fprintf(p.w, "%s%s\n", prefix, line)
	}
}

// step shows what the last steps measured: rates are averages of the steps since they were last shown.
func (p *progress) step(s *run.Step) {
	p.rate.add(1 / float64(s.ImagesPerSecond))
	p.wait.add(float64(s.DataWaitSeconds) / float64(s.StepSeconds))
	p.mfu.add(float64(s.MFU))
	p.done = s.Iteration + 1
	if p.first.IsZero() {
		p.first, p.from = time.Now(), p.done
	}
	// On a device only some steps are measured, so that the turn of a line may fall between two.
	show := p.done/p.every > p.shown/p.every || p.done == p.total
	if p.bar != nil {
		show = p.done == p.total || time.Since(p.last) > 250*time.Millisecond
	}
	if !show {
		return
	}
	p.last, p.shown = time.Now(), p.done
	text := fmt.Sprintf("loss %.4f  %.0f img/s  data wait %.0f %%  MFU %.0f %%", float64(s.Loss), 1/p.rate.take(), 100*p.wait.take(), 100*p.mfu.take())
	if p.bar != nil {
		p.bar.Describe(text)
		p.bar.Set(p.done)
		return
	}
	fmt.Fprintf(p.w, "step %*d/%d  %s  %s left\n", len(fmt.Sprint(p.total)), p.done, p.total, text, p.left())
}

// left returns the time that the remaining steps take at the mean pace so far.
func (p *progress) left() time.Duration {
	pace := time.Since(p.first) / time.Duration(max(1, p.done-p.from))
	return (pace * time.Duration(p.total-p.done)).Round(time.Second)
}

func (p *progress) close() {
	if p.bar != nil {
		p.bar.Clear()
	}
}

// mean averages what was added since the last take.
type mean struct {
	sum float64
	n   int
}

func (m *mean) add(x float64) { m.sum += x; m.n++ }

func (m *mean) take() float64 {
	if m.n == 0 {
		return 0
	}
	x := m.sum / float64(m.n)
	*m = mean{}
	return x
}
