// The race detector itself needs more address space than these limits leave.

//go:build !race

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shell runs the program behind a line of the shell that sets limits or redirects; "$@" stands for the program and its
// arguments.
func shell(line string, args ...string) *exec.Cmd {
	cmd := exec.Command("/bin/sh", append([]string{"-c", line, "sh", os.Args[0]}, args...)...)
	cmd.Env = append(os.Environ(), "DMX_RUN=1")
	return cmd
}

// ended runs a command that must end by itself, and checks that it does so without the runtime's dump.
func ended(t *testing.T, cmd *exec.Cmd) (code int, errOut string) {
	t.Helper()
	var e bytes.Buffer
	cmd.Stderr = &e
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	err := cmd.Wait()
	if !kill.Stop() {
		t.Errorf("%v did not end", cmd.Args)
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	for _, sign := range []string{"goroutine ", "fatal error", "runtime."} {
		if strings.Contains(e.String(), sign) {
			t.Errorf("%v: a dump of the runtime:\n%.2000s", cmd.Args, e.String())
			break
		}
	}
	return cmd.ProcessState.ExitCode(), e.String()
}

// A result that standard output does not take is an error with exit code 1.
func TestFullStandardOutput(t *testing.T) {
	for _, args := range [][]string{
		{"version"}, {"--help"}, {"train", "--help"}, {"config", "show"}, {"config", "validate", "dino"}, {"completion", "bash"},
		{"ptx", "check", "../../kernels/cuda/ptx/koleo.sm_80.ptx"}, {"model", "inspect", modelDir + "dinov2"},
	} {
		code, errOut := ended(t, shell(`exec "$@" >/dev/full`, args...))
		if code != 1 || !strings.Contains(errOut, "dmx: standard output: ") || !strings.Contains(errOut, "no space left") {
			t.Errorf("%v: code %d: %s", args, code, errOut)
		}
	}
}

// A pipe that nobody writes to is no reason to wait for ever.
func TestPipeInPlaceOfAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.yaml")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, errOut := ended(t, shell(`exec "$@"`, "config", "validate", path)); code != 1 || !strings.Contains(errOut, path+": nothing came through this pipe") {
		t.Errorf("code %d: %s", code, errOut)
	}
	for _, args := range [][]string{
		{"ptx", "check", path}, {"model", "inspect", path}, {"embed", "--model", path, "--data", "embedded:fashion-mnist", "--out", path + ".npy"},
		{"train", "--data", path, "--output", path + ".run"}, {"knn", "--checkpoint", path, "--data", "embedded:fashion-mnist"},
	} {
		if code, errOut := ended(t, shell(`exec "$@"`, args...)); code != 1 || !strings.Contains(errOut, path) || !strings.Contains(errOut, "pipe") {
			t.Errorf("%v: code %d: %s", args, code, errOut)
		}
	}
}

// large is a recipe that needs more than the address space of the test.
var large = []string{
	"train", "--config", "dinov2", "--data", "embedded:fashion-mnist", "--device", "cpu", "train.use_pretrained=false", "train.max_iterations=2",
	"train.warmup_iterations=1", "train.freeze_last_layer=1", "train.warmup_teacher_temp_iterations=0", "dataset.mean=[]",
	"dataset.std=[]", "model.num_channels=0", "train.global_batch_size=64", "evaluation.knn=false", "train.num_workers=2",
}

func TestLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("the short form runs under the race detector, whose own memory is beyond such limits")
	}
	for _, kib := range []int{1 << 20, 1<<20 + 1<<19} {
		out := filepath.Join(t.TempDir(), "run")
		code, errOut := ended(t, shell(fmt.Sprintf(`ulimit -v %d; exec "$@"`, kib), append(large, "--output", out)...))
		if code != 1 || !strings.Contains(errOut, "memory") || !strings.Contains(errOut, "dmx: ") {
			t.Errorf("%d KiB: code %d: %s", kib, code, errOut)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%d KiB: the run folder is left: %v", kib, list(t, out))
		}
	}
}

// Where the limit of threads is reached, the program says so; where it just suffices, it works.
func TestFewThreads(t *testing.T) {
	dir := t.TempDir()
	for p := dir; p != os.TempDir() && len(p) > 1; p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "dmx")
	copyProgram(t, program)
	held := 0
	var as *syscall.Credential
	if os.Getuid() == 0 {
		// The limit does not hold for root. No process is of this user.
		as = &syscall.Credential{Uid: uint32(100_000 + os.Getpid()), Gid: uint32(100_000 + os.Getpid())}
	} else {
		held = threadsOfUser(t)
	}
	codes := map[int]bool{}
	for _, n := range []int{16, 18, 200} {
		out := filepath.Join(dir, fmt.Sprint("run", n))
		cmd := shell(fmt.Sprintf(`shift; ulimit -p %[1]d 2>/dev/null || ulimit -u %[1]d; exec %[2]s "$@"`, held+n, program), append([]string{"train", "--output", out}, append(micro,
			"--data", "embedded:fashion-mnist", "evaluation.knn=false", "train.num_workers=4")...)...)
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
		code, errOut := ended(t, cmd)
		codes[code] = true
		switch {
		case code == 1 && !strings.Contains(errOut, "ulimit -u"), code > 1:
			t.Errorf("%d threads: code %d: %s", n, code, errOut)
		case n == 200 && code != 0:
			t.Errorf("200 threads do not suffice: %s", errOut)
		}
	}
	if !codes[1] {
		t.Error("no limit was reached")
	}
}

func copyProgram(t *testing.T, to string) {
	t.Helper()
	from, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	f, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = io.Copy(f, from); err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// threadsOfUser counts the threads of this user's processes, which the limit counts too.
func threadsOfUser(t *testing.T) int {
	t.Helper()
	tasks, err := filepath.Glob("/proc/[0-9]*/task/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, task := range tasks {
		if info, err := os.Stat(task); err == nil && info.Sys().(*syscall.Stat_t).Uid == uint32(os.Getuid()) {
			n++
		}
	}
	return n
}

// The supervisor passes on signals, exit codes and what the program writes.
func TestSupervisedProgramIsTheSame(t *testing.T) {
	limited := `ulimit -v 8000000; exec "$@"`
	var out bytes.Buffer
	cmd := shell(limited, "version")
	cmd.Stdout = &out
	if code, errOut := ended(t, cmd); code != 0 || !strings.HasPrefix(out.String(), "dmx ") {
		t.Errorf("code %d: %s%s", code, &out, errOut)
	}
	if code, errOut := ended(t, shell(limited, "trane")); code != 2 || !strings.Contains(errOut, "unexpected argument trane") {
		t.Errorf("code %d: %s", code, errOut)
	}
	dir := filepath.Join(t.TempDir(), "run")
	cmd = shell(limited, append([]string{"train", "--output", dir, "--data", "embedded:fashion-mnist", "evaluation.knn=false",
		"train.log_every=1"}, append(micro, "train.max_iterations=1000000")...)...)
	var e bytes.Buffer
	cmd.Stderr = &e
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if info, err := os.Stat(filepath.Join(dir, "metrics.jsonl")); err == nil && info.Size() > 0 {
			break
		}
	}
	cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer kill.Stop()
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(e.String(), "stopped by a signal after step") {
		t.Errorf("code %d: %s", code, e.String())
	}
}
