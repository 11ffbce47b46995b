package lambdapool

import "syscall"

// Leash makes a child process die with this one, even when this one is killed outright, and gives
// it a process group of its own, so that a Ctrl-C in the terminal reaches only this process, which
// then ends its children in order.
func Leash() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
