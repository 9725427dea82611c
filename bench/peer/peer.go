// Package peer holds the other side of a comparison: a process that answers one line to each line it is sent, and
// says its name and version first.
package peer

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Process is a running peer.
type Process struct {
	// Name is the line it began with.
	Name string

	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// Start runs a command with env added to the environment. Its standard error is this process's.
func Start(cmd *exec.Cmd, env ...string) (*Process, error) {
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, in: in, out: bufio.NewScanner(out)}
	if p.Name, err = p.answer(); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// PythonEnv asks PyTorch's allocator for large pages, as our tensors have.
const PythonEnv = "THP_MEM_ALLOC_ENABLE=1"

// StartPython writes a script into dir and runs it with arguments. Its file must not have the name of a package.
func StartPython(dir, python, source string, args []string, env ...string) (*Process, error) {
	if python == "" {
		return nil, errors.New("no --python and no $PYTHON")
	}
	src := filepath.Join(dir, "peer.py")
	if err := os.WriteFile(src, []byte(source), 0o644); err != nil {
		return nil, err
	}
	return Start(exec.Command(python, append([]string{src}, args...)...), append([]string{PythonEnv}, env...)...)
}

func (p *Process) answer() (string, error) {
	if !p.out.Scan() {
		return "", fmt.Errorf("%s ended without an answer", filepath.Base(p.cmd.Path))
	}
	return p.out.Text(), nil
}

// Ask sends one line and returns the answer.
func (p *Process) Ask(format string, args ...any) (string, error) {
	if _, err := fmt.Fprintf(p.in, format+"\n", args...); err != nil {
		return "", fmt.Errorf("%s: %w", p.Name, err)
	}
	return p.answer()
}

// Expect sends one line whose answer must be "ok".
func (p *Process) Expect(format string, args ...any) error {
	a, err := p.Ask(format, args...)
	if err == nil && a != "ok" {
		err = fmt.Errorf("%s: %s", p.Name, a)
	}
	return err
}

// Number sends one line and reads a number.
func (p *Process) Number(format string, args ...any) (float64, error) {
	a, err := p.Ask(format, args...)
	if err != nil {
		return 0, err
	}
	var v float64
	if _, err := fmt.Sscan(a, &v); err != nil {
		return 0, fmt.Errorf("%s: answered %q to %q", p.Name, a, fmt.Sprintf(format, args...))
	}
	return v, nil
}

// PeakMemory is the largest resident set of the process so far, in bytes.
func (p *Process) PeakMemory() (int64, error) { return PeakMemory(p.cmd.Process.Pid) }

// PeakMemory is the largest resident set of a process so far, in bytes: VmHWM of Linux.
func PeakMemory(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for _, line := range strings.Split(string(status), "\n") {
		var kib int64
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("process %d: the system does not tell its peak memory", pid)
}

// Close ends the process.
func (p *Process) Close() {
	p.in.Close()
	p.cmd.Wait()
}

// Median is the middle of v, which is not empty.
func Median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// ShownArgs are the arguments of this process as a table quotes them: the path of the Python, which says nothing
// elsewhere, is left out.
func ShownArgs() string {
	args := append([]string(nil), os.Args[1:]...)
	for i, a := range args {
		if i > 0 && strings.TrimLeft(args[i-1], "-") == "python" {
			args[i] = "PYTHON"
		} else if strings.HasPrefix(strings.TrimLeft(a, "-"), "python=") {
			args[i] = "--python=PYTHON"
		}
	}
	return strings.Join(args, " ")
}
