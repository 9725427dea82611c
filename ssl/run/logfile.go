package run

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// logFile is log_files/main_rank0.log, in the form of Python's logging that DINO-MX's readers parse:
// "2025-04-01 01:03:24,093 - dino_trainer_rank0 - INFO - message".
type logFile struct {
	file *os.File
	now  func() time.Time
}

const logName = "main_rank0.log"

func openLog(dir string) (*logFile, error) {
	f, err := os.OpenFile(filepath.Join(dir, logName), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	return &logFile{file: f, now: time.Now}, nil
}

// write appends one line a line of the message.
func (l *logFile) write(level, message string) error {
	stamp := l.now().Format("2006-01-02 15:04:05") + fmt.Sprintf(",%03d", l.now().Nanosecond()/1e6)
	var b strings.Builder
	for _, line := range strings.Split(message, "\n") {
		fmt.Fprintf(&b, "%s - dino_trainer_rank0 - %s - %s\n", stamp, level, line)
	}
	if _, err := l.file.WriteString(b.String()); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	return nil
}

func (l *logFile) close() error { return l.file.Close() }

// Line returns the log line of one step: the paper's fields, order and formats. Every printed loss is its weighted
// contribution, and the parts sum to the total. Terms beside DINO and iBOT stand behind them when the recipe has them.
func (s *Step) Line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Total Loss: %.4f ", s.Loss)
	for _, p := range s.parts() {
		fmt.Fprintf(&b, "%s: %.4f ", p.label(), p.Value)
	}
	fmt.Fprintf(&b, "LR: %.6f Weight Decay: %.6f Teacher momentum: %.6f Current Batch Size: %d Iteration: %d/%d Gpu ID: %d Memory: %.2f/%.2f",
		s.LR, s.WeightDecay, s.Momentum, s.BatchSize, s.Iteration, s.Iterations, 0, gib(s.Memory), gib(s.MemoryTotal))
	return b.String()
}

func gib(bytes uint64) float64 { return float64(bytes) / (1 << 30) }
