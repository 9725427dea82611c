package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain lets the tests start this program as a process of its own: with DMX_RUN set, the test binary is dmx.
func TestMain(m *testing.M) {
	if os.Getenv("DMX_RUN") != "" {
		main()
	}
	os.Exit(m.Run())
}

// process is dmx as a separate process.
func process(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "DMX_RUN=1")
	return cmd
}

// dmx runs the program in this process.
func dmx(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = execute(context.Background(), args, streams{&o, &e})
	return code, o.String(), e.String()
}

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("train:\n  learning_rate: 1\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		out  string // in stdout
		err  string // in stderr
	}{
		{[]string{"--help"}, 0, "Usage: dmx <command>", ""},
		{[]string{"train", "--help"}, 0, "--resume", ""},
		{[]string{"version"}, 0, "dmx ", ""},
		{[]string{}, 2, "", "expected one of"},
		{[]string{"trane"}, 2, "", "unexpected argument trane"},
		{[]string{"train", "--frobnicate"}, 2, "", "unknown flag --frobnicate"},
		{[]string{"train", "--seed", "x"}, 2, "", "--seed"},
		{[]string{"train", "lr"}, 1, "", `command line: "lr": expected key=value`},
		{[]string{"train", "train.lr=fast"}, 1, "", "command line: train.lr"},
		{[]string{"train", "train.lr=fast", "train.momentum=1"}, 1, "", "\ndmx: command line: train.momentum: unknown key"},
		{[]string{"train", "--config", bad}, 1, "", "bad.yaml:2: train.learning_rate: unknown key"},
		{[]string{"config", "show", "--config", "dino"}, 0, "model_name: dino\n", ""},
		{[]string{"config", "show", "--docs"}, 0, "# prototypes K", ""},
		{[]string{"config", "validate", bad}, 1, "", "bad.yaml:2"},
		{[]string{"config", "validate", "dinov3"}, 0, "dinov3: good", ""},
		{[]string{"completion", "bash"}, 0, "complete -C", ""},
		{[]string{"completion", "csh"}, 2, "", "give bash, zsh or fish"},
		{[]string{"knn"}, 2, "", "--checkpoint"},
	} {
		code, out, errOut := dmx(t, c.args...)
		if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(errOut, c.err) {
			t.Errorf("dmx %s: code %d, want %d\nstdout: %s\nstderr: %s", strings.Join(c.args, " "), code, c.code, out, errOut)
		}
		if strings.Contains(errOut, "goroutine ") {
			t.Errorf("dmx %s: stack trace", strings.Join(c.args, " "))
		}
	}
}

// Help needs no work before main; the best of several starts keeps a busy machine out of the measure.
func TestHelpIsQuick(t *testing.T) {
	if testing.Short() {
		t.Skip("the short form runs under the race detector, which waits a second at the end of a process")
	}
	best := time.Hour
	for range 10 {
		start := time.Now()
		if out, err := process("--help").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		best = min(best, time.Since(start))
	}
	if best > 50*time.Millisecond {
		t.Errorf("dmx --help takes %v", best)
	}
	t.Logf("dmx --help takes %v", best)
}

func TestCompletion(t *testing.T) {
	for line, want := range map[string]string{
		"dmx tr":              "train",
		"dmx train --c":       "--config",
		"dmx train --device ": "cpu",
		"dmx config ":         "validate",
	} {
		cmd := process()
		cmd.Env = append(cmd.Env, "COMP_LINE="+line)
		out, err := cmd.Output()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%q completes to %q, %v; want %s in it", line, out, err, want)
		}
	}
}

func TestDoctor(t *testing.T) {
	code, out, errOut := dmx(t, "doctor")
	if code != 0 {
		t.Fatalf("code %d: %s", code, errOut)
	}
	for _, want := range []string{"cpu ", "features ", "kernels      cpu/", "peak ", "gemm ", "gpu "} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
