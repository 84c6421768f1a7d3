package compression

import (
	"fmt"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// encoderMemory is what one encoder needs at most, in bytes, with a margin: test/attack measures it.
const encoderMemory = 1 << 20

// Bounds of the encoders, for any amount of memory.
const (
	minEncoders = 4
	maxEncoders = 1024
)

// Places bound the encoders in use at the same time, of all policies. An encoder is in use until its response is complete, so clients
// that do not read hold encoders, each of which needs several times the memory of the request. A nil *Places is no bound.
type Places struct {
	free    atomic.Int64
	skipped prometheus.Counter
}

// NewPlaces returns as many places as the memory allows, in bytes, and registers the metric of responses that found none.
func NewPlaces(memory int64, r prometheus.Registerer) (*Places, error) {
	p := &Places{skipped: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "postern_compression_skipped_total", Help: "Responses that were not compressed, because too many others were being compressed.",
	})}
	p.free.Store(min(max(memory/encoderMemory, minEncoders), maxEncoders))
	if err := r.Register(p.skipped); err != nil {
		return nil, fmt.Errorf("registering compression metrics: %w", err)
	}
	return p, nil
}

// take reports whether there was a place, which release gives back.
func (p *Places) take() bool {
	if p == nil || p.free.Add(-1) >= 0 {
		return true
	}
	p.free.Add(1)
	p.skipped.Inc()
	return false
}

func (p *Places) release() {
	if p != nil {
		p.free.Add(1)
	}
}
