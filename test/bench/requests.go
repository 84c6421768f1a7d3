package main

import (
	"context"
	"errors"
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
)

// warmTokens is the number of users whose tokens are used again and again.
const warmTokens = 64

// requestCosts measures the CPU time per request beside that of the proxies that people use.
func (b *bench) requestCosts(ctx context.Context) error {
	defer b.stop(len(b.programs))
	rows, err := b.requestRows(ctx)
	if err != nil {
		return err
	}
	if err := b.interleave(ctx, rows); err != nil {
		return err
	}
	return b.printRequests(rows)
}

// requestRows starts the proxies of the selected rows.
func (b *bench) requestRows(ctx context.Context) ([]*row, error) {
	rs, es, err := newSigners(b.dir)
	if err != nil {
		return nil, err
	}
	keys, err := jwks(rs, es)
	if err != nil {
		return nil, err
	}
	var tokens [2][]string
	for i, s := range []*signer{rs, es} {
		if tokens[i], err = s.tokens(warmTokens); err != nil {
			return nil, err
		}
	}
	plain, warm, warmES := load.Requests{get("/", "")}, gets("/", tokens[0]), gets("/", tokens[1])
	keep := func(p *proxy, e error) *proxy { err = errors.Join(err, e); return p }
	nginx := keep(b.nginx(ctx))
	haproxy := keep(b.haproxy(ctx, rs, es))
	bare := keep(b.postern(ctx, "none", policyOf("", "")))
	jwt := keep(b.postern(ctx, "jwt", policyOf("", provider(keys))))
	all := keep(b.postern(ctx, "all", policyOf("", provider(keys)+everything)))
	redis := keep(b.postern(ctx, "redis", policyOf(redisClass(b.redis), provider(keys)+oneLimit)))
	if err != nil {
		return nil, err
	}
	at := func(p *proxy, listener string) (*proxy, load.Target) {
		return p, load.Target{Address: p.addresses[listener]}
	}
	add := func(rows []*row, group, name string, requests load.Requests, p *proxy, t load.Target) []*row {
		return append(rows, &row{group: group, name: name, proxy: p, target: t, requests: requests})
	}
	var rows []*row
	for _, r := range []struct {
		group, name, listener string
		proxy                 *proxy
		requests              load.Requests
	}{
		{"plain", nginxPlain, "plain", nginx, plain},
		{"plain", haproxyPlain, "plain", haproxy, plain},
		{"plain", "Postern, no sections", "plain", bare, plain},
		{"token", haproxyRS, "RS256", haproxy, warm},
		{"token", haproxyES, "ES256", haproxy, warmES},
		{"token", "Postern, RS256 warm", "plain", jwt, warm},
		{"token", "Postern, everything, in memory", "plain", all, warm},
		{"token", "Postern, everything, Redis, one exact limit", "plain", redis, warm},
	} {
		p, t := at(r.proxy, r.listener)
		rows = add(rows, r.group, r.name, r.requests, p, t)
	}
	for _, s := range []*signer{rs, es} {
		p, t := at(jwt, "plain")
		rows = add(rows, "token", "Postern, a new "+s.algorithm+" token each time", nil, p, t)
		rows[len(rows)-1].fresh = func(n int) (load.Requests, error) {
			tokens, err := s.tokens(n)
			return gets("/", tokens), err
		}
	}
	return rows, nil
}

func (b *bench) printRequests(rows []*row) error {
	out := [][]string{{"CPU of the proxy's processes", "µs/request", "min", "max", "requests/s", "/nginx", "/HAProxy", "/HAProxy RS256", "/HAProxy ES256"}}
	for _, r := range rows {
		at := median(r.cpu)
		cells := []string{r.name, tenths(at), tenths(slices.Min(r.cpu)), tenths(slices.Max(r.cpu)), fmt.Sprintf("%.0f", median(r.rate))}
		for _, than := range []string{nginxPlain, haproxyPlain, haproxyRS, haproxyES} {
			cells = append(cells, ratio(at, cost(rows, than)))
		}
		out = append(out, cells)
	}
	return table(b.out, fmt.Sprintf("CPU time per request, closed loop over %d connections, 1 KiB responses", b.clients), out)
}

// cost returns the median of a row, or 0 if it was not measured.
func cost(rows []*row, name string) time.Duration {
	for _, r := range rows {
		if r.name == name {
			return median(r.cpu)
		}
	}
	return 0
}

func tenths(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/1e3) }
