//go:build !linux

package main

import (
	"errors"
	"syscall"
	"time"
)

func attributes() *syscall.SysProcAttr { return nil }

func cpuTime(int) (time.Duration, error) {
	return 0, errors.New("reading the CPU time of a process: requires Linux")
}

func family(int) ([]int, error) {
	return nil, errors.New("reading the children of a process: requires Linux")
}
