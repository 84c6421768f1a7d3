package loginprotection

import (
	"crypto/sha256"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Bounds of what a process remembers.
const (
	// sampleEvery is how often a sample is written to the store at most.
	sampleEvery = time.Minute
	// times is how many durations of the app's responses of one kind are remembered per route.
	times = 16
	// candidates is how many different responses of a route are compared with later ones.
	candidates = 8
	// maxForms bounds the forms of a route's responses that are remembered: those of some hosts and paths, beside the general ones.
	maxForms = 64
)

// candidate is a response that one attempt got.
type candidate struct {
	digest [sha256.Size]byte
	// who is a hash of the account and the network.
	who string
}

// memories are the samples of each route, in the forms that apps give by Accept, and how long the app took.
type memories struct {
	mu     sync.Mutex
	routes []memory
}

type memory struct {
	samples map[string]*sample
	written map[string]time.Time
	// seen are the latest responses, of which one becomes a sample when another client or account gets the same.
	seen [candidates]candidate
	next int
	took map[answer]*durations
}

// answer is a kind of responses that take about as long: those with a status, to attempts that were looked up in the list of breached
// passwords or not. Its zero value stands for all.
type answer struct {
	status int
	looked bool
}

// durations are the latest ones.
type durations struct {
	took [times]time.Duration
	n    int
}

func newMemories(routes int) *memories {
	m := &memories{routes: make([]memory, routes)}
	for i := range m.routes {
		m.routes[i] = memory{samples: map[string]*sample{}, written: map[string]time.Time{}, took: map[answer]*durations{}}
	}
	return m
}

// keep remembers a confirmed response as the sample. A 401 is not replaced by another status, which a malformed request may cause. It
// reports whether the sample is to be written to the store.
func (m *memories) keep(a *attempt, form string, s *sample) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, now := &m.routes[a.index], a.cfg.Now()
	if old := r.samples[form]; old != nil && old.Status == http.StatusUnauthorized && s.Status != old.Status {
		return false
	}
	if ofPlace(form) && r.samples[form] == nil && len(r.samples) >= maxForms {
		r.forget()
	}
	r.samples[form] = s
	last, ok := r.written[form]
	if ok && now.Sub(last) < sampleEvery || !ok && ofPlace(form) && len(r.written) >= maxForms { // the store keeps each for long
		return false
	}
	r.written[form] = now
	return true
}

// ofPlace reports whether a form is that of some hosts or paths, which clients can choose.
func ofPlace(form string) bool { return strings.Count(form, "-") > 1 }

// forget forgets one sample of a place, at random: a client that names many places makes room for none of them for long.
func (r *memory) forget() {
	for form := range r.samples {
		if ofPlace(form) {
			delete(r.samples, form)
			return
		}
	}
}

// confirmed reports whether another attempt at this replica got the same response, and remembers a new one.
func (m *memories) confirmed(i int, c candidate) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &m.routes[i]
	for _, other := range r.seen {
		if other.digest == c.digest {
			return other.who != c.who
		}
	}
	r.seen[r.next%candidates] = c
	r.next++
	return false
}

// timed remembers how long the app took to give an answer.
func (m *memories) timed(i int, to answer, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &m.routes[i]
	for _, kind := range []answer{to, {}} {
		d := r.took[kind]
		if d == nil {
			d = &durations{}
			r.took[kind] = d
		}
		d.took[d.n%times] = took
		d.n++
	}
}

// duration returns one of the times that the app took to give an answer or, if none is known, another one; 0 before the first. Otherwise
// attempts that the app refuses fast, because they have no password, would show the locks of others.
func (m *memories) duration(i int, to answer, jitter func(int) int) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &m.routes[i]
	for _, kind := range []answer{to, {}} {
		if d := r.took[kind]; d != nil {
			return d.took[jitter(min(d.n, times))]
		}
	}
	return 0
}

// recall returns the sample of a route, or nil.
func (m *memories) recall(i int, form string) *sample {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.routes[i].samples[form]
}
