package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/posterndev/postern/test/bench/load"
)

// The names of the rows with which others are compared.
const (
	nginxPlain   = "nginx, plain"
	haproxyPlain = "HAProxy, plain"
	haproxyRS    = "HAProxy, jwt_verify RS256"
	haproxyES    = "HAProxy, jwt_verify ES256"
	haproxyH2C   = "HAProxy, plain, h2c clients"

	posternPlain  = "Postern, no sections"
	posternWarm   = "Postern, RS256 warm"
	posternAll    = "Postern, everything, in memory"
	posternRedis  = "Postern, everything, Redis, one exact limit"
	posternColdRS = "Postern, a new RS256 token each time"
	posternColdES = "Postern, a new ES256 token each time"
	posternH2C    = "Postern, no sections, h2c clients"
)

// entry describes a row. start returns its proxy.
type entry struct {
	group, name   string
	start         func(context.Context) (*proxy, error)
	listener      string
	requests      load.Requests
	fresh         *signer
	http2, tls    bool
	newConnection bool
}

// entries are all rows. Those of the group reference are always measured.
func (s *suite) entries() ([]entry, error) {
	plain2, err := s.plain2()
	if err != nil {
		return nil, err
	}
	postern := func(name string) func(context.Context) (*proxy, error) {
		return func(ctx context.Context) (*proxy, error) { return s.postern(ctx, name, s.policy(name)) }
	}
	verifier := func(name, mode string) func(context.Context) (*proxy, error) {
		return func(ctx context.Context) (*proxy, error) { return s.verifier(ctx, name, mode) }
	}
	plain, warm := s.plain(), s.warm()
	list := []entry{
		{group: "reference", name: nginxPlain, start: s.nginx, requests: plain},
		{group: "reference", name: haproxyPlain, start: s.haproxy, requests: plain},
		{group: "reference", name: haproxyRS, start: s.haproxy, listener: "RS256", requests: warm},
		{group: "reference", name: haproxyES, start: s.haproxy, listener: "ES256", requests: s.warmES()},
		{group: "postern", name: posternPlain, start: postern("none"), requests: plain},
		{group: "postern", name: posternWarm, start: postern("jwt"), requests: warm},
		{group: "postern", name: posternAll, start: postern("all"), requests: warm},
		{group: "postern", name: posternRedis, start: postern("redis"), requests: warm},
		{group: "cold", name: posternColdRS, start: postern("jwt"), fresh: s.rs},
		{group: "cold", name: posternColdES, start: postern("jwt"), fresh: s.es},
		{group: "peers", name: "Caddy, plain", start: s.caddy, requests: plain},
		{group: "peers", name: "Go ReverseProxy, plain", start: verifier("bare", "off"), requests: plain},
		{group: "peers", name: "Go ReverseProxy, golang-jwt RS256", start: verifier("golang-jwt", "verify"), requests: warm},
		{group: "peers", name: "nginx, auth_request, Go verifier RS256", start: s.nginx, listener: "auth", requests: warm},
		{group: "peers", name: "oauth2-proxy, bearer RS256", start: s.oauth2Proxy, requests: warm},
		{group: "h2c", name: "nginx, plain, h2c clients", start: s.nginx, listener: "h2c", requests: plain2, http2: true},
		{group: "h2c", name: haproxyH2C, start: s.haproxy, listener: "h2c", requests: plain2, http2: true},
		{group: "h2c", name: "Go net/http, no proxy: answers itself, h2c clients", start: verifier("answer", "answer"), requests: plain2, http2: true},
		{group: "h2c", name: posternH2C, start: postern("none"), requests: plain2, http2: true},
	}
	for _, t := range []struct {
		name     string
		start    func(context.Context) (*proxy, error)
		listener string
	}{{"nginx, plain", s.nginx, "tls"}, {"HAProxy, plain", s.haproxy, "tls"}, {"Postern, no sections", postern("tls"), ""}} {
		if t.listener == "" && !hasTLS() {
			continue
		}
		list = append(list, entry{group: "tls", name: t.name + ", TLS 1.3", start: t.start, listener: t.listener, requests: plain, tls: true},
			entry{group: "tls", name: t.name + ", TLS 1.3, a handshake each", start: t.start, listener: t.listener, requests: plain, tls: true, newConnection: true})
	}
	return list, nil
}

// row starts the proxy of an entry.
func (s *suite) row(ctx context.Context, e entry) (*row, error) {
	p, err := e.start(ctx)
	if err != nil {
		return nil, err
	}
	if e.listener == "" {
		e.listener = "plain"
	}
	r := &row{group: e.group, name: e.name, proxy: p, requests: e.requests, target: load.Target{Address: p.addresses[e.listener], HTTP2: e.http2, NewConnection: e.newConnection}}
	if e.tls {
		r.target.TLS = s.client
	}
	if e.fresh != nil {
		r.fresh = func(n int) (load.Requests, error) {
			tokens, err := e.fresh.tokens(n)
			return gets("/", tokens), err
		}
	}
	return r, nil
}

// requests measures the CPU time per request beside that of the proxies that people use.
func (s *suite) requests(ctx context.Context) error {
	list, err := s.entries()
	if err != nil {
		return err
	}
	for _, e := range list {
		if e.group != "reference" && !s.selected("requests/"+e.group) {
			continue
		}
		r, err := s.row(ctx, e)
		if err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		s.measured = append(s.measured, r)
	}
	if err := s.interleave(ctx, "requests", s.measured); err != nil {
		return err
	}
	return s.printRequests()
}

func (s *suite) printRequests() error {
	out := [][]string{{"CPU of the proxy's processes", "µs/request", "min", "max", "requests/s", "/nginx", "/HAProxy", "/HAProxy RS256", "/HAProxy ES256"}}
	for _, r := range s.measured {
		at := median(r.cpu)
		cells := []string{r.name, tenths(at), tenths(slices.Min(r.cpu)), tenths(slices.Max(r.cpu)), fmt.Sprintf("%.0f", median(r.rate))}
		for _, than := range []string{nginxPlain, haproxyPlain, haproxyRS, haproxyES} {
			cells = append(cells, ratio(at, s.cost(than)))
		}
		out = append(out, cells)
	}
	if !hasTLS() {
		fmt.Fprintln(s.progress, "requests: this build has no spec.tls, so there is no row of Postern with TLS")
	}
	return s.publish("requests", fmt.Sprintf("CPU time per request, closed loop over %d connections, 1 KiB responses", s.clients), out)
}

// cost returns the median of a row, or 0 if it was not measured.
func (s *suite) cost(name string) time.Duration {
	for _, r := range s.measured {
		if r.name == name {
			return median(r.cpu)
		}
	}
	return 0
}

func tenths(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/1e3) }
