//go:build unix

package config

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func pipe(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run.yaml")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A pipe is read like a file, whether its writer comes before or after; one that nobody writes to is an error.
func TestConfigurationThroughAPipe(t *testing.T) {
	defer func(d time.Duration) { patience = d }(patience)
	patience = 50 * time.Millisecond
	path := pipe(t)
	start := time.Now()
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path+": nothing came through this pipe") {
		t.Errorf("error %v", err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
	patience = 10 * time.Second
	go func() {
		time.Sleep(20 * time.Millisecond)
		_ = os.WriteFile(path, []byte("train:\n  lr: 0.25\n"), 0)
	}()
	c, err := Load(path)
	if err != nil || c.Train.LR != .25 {
		t.Errorf("%v", err)
	}
	if _, err := Load("/dev/zero"); err == nil || !strings.Contains(err.Error(), "/dev/zero: expected a file") {
		t.Errorf("error %v", err)
	}
}
