package accesslog

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// native adds a native histogram to the classic one, for scrapers that ask for it. Its memory is bounded: beyond 100 buckets it becomes less
// precise.
func native(o prometheus.HistogramOpts) prometheus.HistogramOpts {
	o.NativeHistogramBucketFactor, o.NativeHistogramMaxBucketNumber, o.NativeHistogramMinResetDuration = 1.1, 100, time.Hour
	return o
}

// observe adds a time, with the id of a trace as its exemplar if that is one of the W3C's trace contexts: client_golang panics at texts that it does not
// accept.
func observe(o prometheus.Observer, d time.Duration, trace string) {
	if e, ok := o.(prometheus.ExemplarObserver); ok && isTraceID(trace) {
		e.ObserveWithExemplar(d.Seconds(), prometheus.Labels{"trace_id": trace})
		return
	}
	o.Observe(d.Seconds())
}

func isTraceID(text string) bool {
	if len(text) != 32 {
		return false
	}
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
