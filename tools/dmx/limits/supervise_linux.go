package limits

import (
	"os/exec"
	"runtime"
	"syscall"
)

// own lets the child end with this process, and gives it signals through this process alone.
func own(cmd *exec.Cmd) {
	runtime.LockOSThread() // the kernel watches the thread that starts the child
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
