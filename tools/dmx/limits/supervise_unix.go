//go:build unix

package limits

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// supervisedChild is set in the environment of a process that Supervise has started.
const supervisedChild = "DMX_SUPERVISED"

// fewProcesses is a limit of processes and threads that a training run may reach.
const fewProcesses = 4096

// limits lists the limits of the system, set for this process, that Go's runtime does not survive: where it gets no
// memory or no thread it prints its stacks and exits.
func limits() []string {
	var set []string
	for _, l := range []struct {
		name     string
		resource int
		below    uint64
		unit     uint64
	}{
		{"ulimit -v", unix.RLIMIT_AS, unix.RLIM_INFINITY, 1 << 10},
		{"ulimit -d", unix.RLIMIT_DATA, unix.RLIM_INFINITY, 1 << 10},
		{"ulimit -u", unix.RLIMIT_NPROC, fewProcesses, 1},
	} {
		var r unix.Rlimit
		if err := unix.Getrlimit(l.resource, &r); err == nil && uint64(r.Cur) < l.below {
			set = append(set, fmt.Sprintf("%s %d", l.name, uint64(r.Cur)/l.unit))
		}
	}
	return set
}

// Supervise runs this command in a child process where limits are set, so that what Go's runtime prints when it dies
// of one can be said in one line with exit code 1. It returns the exit code, or false if this process is to do the work.
func Supervise() (code int, supervised bool) {
	if os.Getenv(supervisedChild) != "" {
		// The real standard error is file 3: what the runtime prints to file 2 is for the supervisor.
		os.Unsetenv(supervisedChild)
		os.Stderr = os.NewFile(3, "/dev/stderr")
		return 0, false
	}
	set := limits()
	if len(set) == 0 {
		return 0, false
	}
	code, err := superviseChild(set)
	if err != nil {
		fmt.Fprintf(os.Stderr, "dmx: start a process under %s: %v; raise the limit\n", strings.Join(set, ", "), err)
		return 1, true
	}
	return code, true
}

func superviseChild(set []string) (int, error) {
	program, err := os.Executable()
	if err != nil {
		return 0, err
	}
	runtime.GOMAXPROCS(1) // fewer threads of this process leave more to the child
	reserveThreads(8)
	var dump head
	cmd := exec.Command(program, os.Args[1:]...)
	cmd.Env = append(os.Environ(), supervisedChild+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, &dump
	cmd.ExtraFiles = []*os.File{os.Stderr}
	own(cmd)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s) // it may have ended meanwhile
		}
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, err
	}
	text := dump.String()
	if what := exhausted(text); what != "" && cmd.ProcessState.ExitCode() != 0 {
		fmt.Fprintf(os.Stderr, "dmx: the system gives this process no more %s (%s); raise the limit, or use smaller batches and fewer workers\n",
			what, strings.Join(set, ", "))
		return 1, nil
	}
	if _, err := io.WriteString(os.Stderr, text); err != nil {
		return 1, nil
	}
	if status, ok := cmd.ProcessState.Sys().(interface {
		Signaled() bool
		Signal() unix.Signal
	}); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}

// reserveThreads makes the runtime start n threads, which it keeps for later: once the child runs there may be none left.
func reserveThreads(n int) {
	var started, done sync.WaitGroup
	started.Add(n)
	for range n {
		done.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			started.Done()
			started.Wait() // so that each has a thread of its own
		})
	}
	done.Wait()
}

// exhausted says what the runtime could not get, by what it printed when it died: memory, threads, or nothing.
func exhausted(dump string) string {
	for what, signs := range map[string][]string{
		"threads": {"failed to create new OS thread", "pthread_create failed", "newosproc"},
		"memory":  {"out of memory", "cannot allocate memory", "failed to reserve", "cannot reserve", "runtime: cannot allocate"},
	} {
		for _, sign := range signs {
			if strings.Contains(dump, sign) {
				return what
			}
		}
	}
	return ""
}

// head keeps the first 64 KiB of what is written to it.
type head struct{ bytes.Buffer }

func (h *head) Write(p []byte) (int, error) {
	const most = 64 << 10
	h.Buffer.Write(p[:min(len(p), max(0, most-h.Len()))])
	return len(p), nil
}
