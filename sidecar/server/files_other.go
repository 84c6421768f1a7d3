//go:build !linux

package server

import "math"

// fileLimit returns the highest number: postern run on other systems has no pod to protect.
func fileLimit() uint64 { return math.MaxInt64 }

// unmapStartPages does nothing.
func unmapStartPages() error { return nil }
