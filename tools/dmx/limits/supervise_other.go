//go:build unix && !linux

package limits

import (
	"os/exec"
	"syscall"
)

// own gives the child signals through this process alone.
func own(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
