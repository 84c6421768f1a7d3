package server

import (
	"math"
	"syscall"
)

// fileLimit returns how many file descriptors the process may have. Go has raised the soft limit to the hard one.
func fileLimit() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxInt64
	}
	return min(limit.Cur, math.MaxInt64)
}
