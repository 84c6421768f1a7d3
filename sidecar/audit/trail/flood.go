package trail

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/clientnet"
	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// Of the events that anybody can cause, such as refused tokens, the first floodBurst of a source within floodWindow have records of their
// own. The others are counted, and one record at the end of the window has their number. So a flood can neither fill the spool, which would
// refuse everybody's requests, nor hide what else happens.
const (
	floodWindow = 10 * time.Second
	floodBurst  = 10
	// floodSources bounds the sources that are told apart. Further sources are counted together, for each kind of event.
	floodSources = 1024
)

// source is what is counted together.
type source struct {
	kind    event.Kind
	outcome event.Outcome
	reason  string
	rule    string
	network netip.Prefix
}

// counted is an event that stands for count events; 0 stands for itself.
type counted struct {
	event *event.Event
	count uint64
}

// flood bounds public events. It is safe for concurrent use.
type flood struct {
	mu      sync.Mutex
	sources map[source]*counted
	// seen counts the events of the window that had a record.
	seen map[source]int
}

func newFlood() *flood {
	return &flood{sources: map[source]*counted{}, seen: map[source]int{}}
}

// admit reports whether e gets a record of its own. If not, it is counted. If the spool is crowded, every event is counted.
func (f *flood) admit(e *event.Event, crowded bool) bool {
	s := source{kind: e.Kind, outcome: e.Outcome, reason: e.Reason, rule: e.Stage + "/" + e.Rule, network: clientnet.Of(e.ClientAddr)}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.seen[s]; !known && len(f.seen) >= floodSources {
		s = source{kind: e.Kind, outcome: e.Outcome}
	}
	if !crowded && f.seen[s] < floodBurst {
		f.seen[s]++
		return true
	}
	if c := f.sources[s]; c != nil {
		c.count++
		keepCommon(c.event, e)
		return false
	}
	one := *e
	if s.network == (netip.Prefix{}) {
		one = anybody(e)
	}
	f.sources[s] = &counted{event: &one, count: 1}
	f.seen[s]++
	return false
}

// keepCommon clears what e has not in common with all: a record of many events must not name one of their users.
func keepCommon(all, e *event.Event) {
	for _, field := range []struct{ all, one *string }{
		{&all.Provider, &e.Provider}, {&all.Issuer, &e.Issuer}, {&all.Subject, &e.Subject}, {&all.Session, &e.Session}, {&all.TokenID, &e.TokenID},
		{&all.KeyID, &e.KeyID}, {&all.Account, &e.Account}, {&all.PerformedBy, &e.PerformedBy}, {&all.Claim, &e.Claim},
		{&all.RequestID, &e.RequestID}, {&all.TraceID, &e.TraceID}, {&all.UserAgent, &e.UserAgent},
	} {
		if *field.all != *field.one {
			*field.all = ""
		}
	}
	if all.ClientAddr != e.ClientAddr {
		all.ClientAddr = clientnet.Of(all.ClientAddr).Addr() // the /64 of both
	}
}

// summaries ends the window, and returns an event for each source of events that were counted. If the spool is crowded, it tells no sources
// apart: else many addresses could fill it with summaries.
func (f *flood) summaries(crowded bool) []counted {
	f.mu.Lock()
	defer f.mu.Unlock()
	if crowded {
		f.merge()
	}
	var all []counted
	for _, c := range f.sources {
		all = append(all, *c)
	}
	slices.SortFunc(all, func(a, b counted) int { return a.event.Time.Compare(b.event.Time) })
	clear(f.sources)
	clear(f.seen)
	return all
}

// merge counts all sources together, for each kind of event.
func (f *flood) merge() {
	merged := map[source]*counted{}
	for s, c := range f.sources {
		s = source{kind: s.kind, outcome: s.outcome}
		m := merged[s]
		if m == nil {
			one := anybody(c.event)
			m = &counted{event: &one}
			merged[s] = m
		}
		if c.event.Time.Before(m.event.Time) {
			m.event.Time = c.event.Time
		}
		m.count += c.count
	}
	f.sources = merged
}

// anybody returns what an event has in common with those of other sources.
func anybody(e *event.Event) event.Event {
	return event.Event{Kind: e.Kind, Outcome: e.Outcome, Time: e.Time, Policy: e.Policy}
}
