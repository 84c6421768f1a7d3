package soak

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A fault is something that the schedule does to the sidecar.
type fault string

const (
	// appAway: the app is stopped, and later started.
	appAway fault = "app away"
	// appCloses: the app closes the connections that it does not use.
	appCloses fault = "app closes idle connections"
	// redisAway: Redis is stopped or hangs, until the sidecar uses it again.
	redisAway fault = "Redis away"
)

// A consequence is a result that is right only while one of the faults lasts.
type consequence struct {
	faults []fault
	err    error
}

// Error describes the result.
func (c consequence) Error() string { return c.err.Error() }

// of marks err as a consequence of faults. A result that is right stays so.
func of(err error, faults ...fault) error {
	if err == nil {
		return nil
	}
	return consequence{faults, err}
}

// period is the time of one fault; end is zero while it lasts.
type period struct{ begin, end time.Time }

// maxDetails is how many failures are described.
const maxDetails = 10

// ledger compares every result with the faults at its time.
type ledger struct {
	mu      sync.Mutex
	periods map[fault][]period
	// right and excused count the results of each kind of traffic.
	right, excused map[string]int
	failed         int
	details        []string
}

func newLedger() *ledger {
	return &ledger{periods: map[fault][]period{}, right: map[string]int{}, excused: map[string]int{}}
}

// during notes that a fault lasts from now on while do runs.
func (l *ledger) during(f fault, do func()) {
	l.mu.Lock()
	at := len(l.periods[f])
	l.periods[f] = append(l.periods[f], period{begin: time.Now()})
	l.mu.Unlock()
	do()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.periods[f][at].end = time.Now()
}

// had reports whether one of the faults lasted at some time from begin until now.
func (l *ledger) had(begin time.Time, faults ...fault) bool {
	for _, f := range faults {
		for _, p := range l.periods[f] {
			if p.end.IsZero() || !p.end.Before(begin) {
				return true
			}
		}
	}
	return false
}

// record counts the result of an exchange that began at begin and has ended.
func (l *ledger) record(kind string, begin time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var c consequence
	switch {
	case err == nil:
		l.right[kind]++
	case errors.As(err, &c) && l.had(begin, c.faults...):
		l.excused[kind]++
	default:
		l.fail(fmt.Sprintf("%s, begun %s ago: %v", kind, time.Since(begin).Round(time.Millisecond), err))
	}
}

// fail counts a failure. The caller holds the lock.
func (l *ledger) fail(detail string) {
	if l.failed++; len(l.details) < maxDetails {
		l.details = append(l.details, time.Now().Format("15:04:05.000 ")+detail+l.current())
	}
}

// current describes the faults that last, and when the last one ended.
func (l *ledger) current() string {
	var b strings.Builder
	for _, f := range slices.Sorted(maps.Keys(l.periods)) {
		switch last := l.periods[f][len(l.periods[f])-1]; {
		case last.end.IsZero():
			fmt.Fprintf(&b, "; %s", f)
		default:
			fmt.Fprintf(&b, "; %s until %s ago", f, time.Since(last.end).Round(time.Millisecond))
		}
	}
	return b.String()
}

// report fails the test for each kind of traffic without a right result, and for results that are not right.
func (l *ledger) report(t *testing.T, kinds []traffic) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range kinds {
		t.Logf("%-24s %7d right, %5d consequences of faults", k.name, l.right[k.name], l.excused[k.name])
		if l.right[k.name] == 0 {
			t.Errorf("no result of %q was right", k.name)
		}
	}
	if l.failed > 0 {
		t.Errorf("%d results are wrong; the first:\n%s", l.failed, strings.Join(l.details, "\n"))
	}
}
