//go:build unix && !linux

package lambdapool

import "syscall"

// Leash gives a child process a process group of its own, so that a Ctrl-C in the terminal reaches
// only this process, which then ends its children in order. Only Linux can also end a child when
// its parent is killed outright.
func Leash() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
