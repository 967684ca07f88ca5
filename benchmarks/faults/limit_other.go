//go:build !unix

package main

import (
	"errors"
	"syscall"
)

func limitFiles(uint64) error { return errors.ErrUnsupported }

func asNobody() *syscall.SysProcAttr { return nil }
