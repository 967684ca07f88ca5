//go:build unix

package main

import "syscall"

// limitFiles makes every file of this process end at so many bytes, as on a disk that
// is full.
func limitFiles(bytes uint64) error {
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: bytes})
}

// asNobody returns what makes a child run as a user without rights where this process
// has all of them.
func asNobody() *syscall.SysProcAttr {
	if syscall.Geteuid() != 0 {
		return nil
	}
	const nobody = 65534
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}
