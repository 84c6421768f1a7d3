package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/posterndev/postern/test/bench/load"
	"github.com/posterndev/postern/test/bench/plot"
)

// curve is the CPU time per request for several sizes of something, for one or more proxies.
type curve struct {
	place, title, label string
	sizes               []float64
	// names are those of the sizes; if unset, the numbers.
	names []string
	lines []line
}

// line is one proxy. Its rows are one for each size.
type line struct {
	name string
	rows []*row
}

// curves measures how the cost grows.
func (s *suite) curves(ctx context.Context) error {
	for _, c := range []struct {
		name string
		draw func(context.Context) error
	}{
		{"routes", s.routes}, {"providers", s.providers}, {"connections", s.connectionCounts}, {"bodies", s.bodies},
		{"revocations", s.revocations}, {"replicas", s.replicas},
	} {
		if !s.selected("curves/" + c.name) {
			continue
		}
		if err := c.draw(ctx); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

// measure runs all rows of a curve in turn, and publishes it.
func (s *suite) measure(ctx context.Context, c curve) error {
	var rows []*row
	for _, l := range c.lines {
		rows = append(rows, l.rows...)
	}
	if err := s.interleave(ctx, c.place, rows); err != nil {
		return err
	}
	return s.publishCurve(c)
}

func (s *suite) publishCurve(c curve) error {
	header := []string{c.label}
	p := plot.Plot{Title: c.title, X: c.label, Y: "CPU time of the proxy per request, µs"}
	for i, size := range c.sizes {
		if c.names == nil {
			header = append(header, strconv.FormatFloat(size, 'f', 0, 64))
		} else {
			header = append(header, c.names[i])
		}
	}
	out := [][]string{header}
	for _, l := range c.lines {
		cells, drawn := []string{l.name + ", µs"}, plot.Line{Name: l.name, X: c.sizes, Labels: c.names}
		for _, r := range l.rows {
			cells = append(cells, tenths(median(r.cpu)))
			drawn.Y = append(drawn.Y, float64(median(r.cpu))/1e3)
		}
		out, p.Lines = append(out, cells), append(p.Lines, drawn)
	}
	if err := s.draw(c.place, p); err != nil {
		return err
	}
	return s.publish(c.place, c.title+": "+c.label, out)
}

// at returns a row without the proxy's start.
func at(name string, p *proxy, listener string, requests load.Requests) *row {
	return &row{name: name, proxy: p, target: load.Target{Address: p.addresses[listener]}, requests: requests}
}

func (s *suite) routes(ctx context.Context) error {
	c := curve{place: "routes", title: "Routes of a policy", label: "path patterns; requests match the last", sizes: []float64{1, 10, 100, 1000}}
	path := strings.Replace(lastRoute, "*", "17", 1)
	l := line{name: "Postern, RS256 warm"}
	for _, n := range c.sizes {
		name := fmt.Sprintf("routes-%.0f", n)
		p, err := s.postern(ctx, name, policyOf("", provider(s.issuer, s.keys)+manyRoutes(int(n))))
		if err != nil {
			return err
		}
		l.rows = append(l.rows, at(name, p, "plain", gets(path, s.tokens)))
	}
	c.lines = []line{l}
	err := s.measure(ctx, c)
	s.flat("1,000 routes / 1", l)
	return err
}

// flat adds the goal that the last size of a line costs at most a tenth more than the first.
func (s *suite) flat(name string, l line) {
	s.curveGoals = append(s.curveGoals, per(name, median(l.rows[len(l.rows)-1].cpu), median(l.rows[0].cpu), 1.1))
}

func (s *suite) providers(ctx context.Context) error {
	c := curve{place: "providers", title: "Providers of a policy", label: "providers; tokens are of the last", sizes: []float64{1, 4, 16}}
	l := line{name: "Postern, RS256 warm"}
	for _, n := range c.sizes {
		name := fmt.Sprintf("providers-%.0f", n)
		p, err := s.postern(ctx, name, policyOf("", manyProviders(int(n), s.issuer, s.keys)))
		if err != nil {
			return err
		}
		l.rows = append(l.rows, at(name, p, "plain", s.warm()))
	}
	c.lines = []line{l}
	err := s.measure(ctx, c)
	s.flat("16 providers / 1", l)
	return err
}

// compared are the proxies of the curves of connections and bodies.
func (s *suite) compared(ctx context.Context) (nginx, haproxy, all *proxy, err error) {
	if nginx, err = s.nginx(ctx); err != nil {
		return nil, nil, nil, err
	}
	if haproxy, err = s.haproxy(ctx); err != nil {
		return nil, nil, nil, err
	}
	all, err = s.postern(ctx, "all", s.policy("all"))
	return nginx, haproxy, all, err
}

func (s *suite) connectionCounts(ctx context.Context) error {
	nginx, haproxy, all, err := s.compared(ctx)
	if err != nil {
		return err
	}
	c := curve{place: "connections", title: "Connections", label: "connections, each with a request in progress", sizes: []float64{1, 8, 32, 256}}
	c.lines = []line{{name: nginxPlain}, {name: haproxyRS}, {name: posternAll}}
	for _, n := range c.sizes {
		for i, r := range []*row{at(nginxPlain, nginx, "plain", s.plain()), at(haproxyRS, haproxy, "RS256", s.warm()), at(posternAll, all, "plain", s.warm())} {
			r.clients = int(n)
			c.lines[i].rows = append(c.lines[i].rows, r)
		}
	}
	return s.measure(ctx, c)
}

func (s *suite) bodies(ctx context.Context) error {
	nginx, haproxy, all, err := s.compared(ctx)
	if err != nil {
		return err
	}
	sizes, names := []float64{0, 1 << 10, 64 << 10, 1 << 20}, []string{"0", "1 KiB", "64 KiB", "1 MiB"}
	for _, k := range []struct {
		place, title, label string
		render              func(size int, tokens []string) load.Requests
	}{
		{"responses", "Body of the response", "size of the response to a GET", func(size int, tokens []string) load.Requests { return gets("/"+strconv.Itoa(size), tokens) }},
		{"uploads", "Body of the request", "size of the body of a POST", posts},
	} {
		c := curve{place: k.place, title: k.title, label: k.label, sizes: sizes, names: names, lines: []line{{name: nginxPlain}, {name: haproxyPlain}, {name: posternAll}}}
		for _, size := range sizes {
			for i, r := range []*row{
				at(nginxPlain, nginx, "plain", k.render(int(size), s.tokens[:1])), at(haproxyPlain, haproxy, "plain", k.render(int(size), s.tokens[:1])), at(posternAll, all, "plain", k.render(int(size), s.tokens[:1])),
			} {
				c.lines[i].rows = append(c.lines[i].rows, r)
			}
		}
		if err := s.measure(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// posts renders a POST with a body for each token.
func posts(size int, tokens []string) load.Requests {
	var out load.Requests
	for _, token := range tokens {
		head := fmt.Sprintf("POST /0 HTTP/1.1\r\nHost: bench.example.com\r\nOrigin: https://shop.example.com\r\nAuthorization: Bearer %s\r\n"+
			"Content-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", token, size)
		out = append(out, append([]byte(head), make([]byte, size)...))
	}
	return out
}

// together is the cost of several proxies.
type together []*proxy

func (t together) cpu() (sum time.Duration, err error) {
	for _, p := range t {
		c, err := p.cpu()
		if err != nil {
			return 0, err
		}
		sum += c
	}
	return sum, nil
}

// replicas measures sidecars that share one exact limit in Redis. The load is the same for any number of them.
func (s *suite) replicas(ctx context.Context) error {
	c := curve{place: "replicas", title: "Replicas that share a limit", label: "sidecars with one exact limit in Redis", sizes: []float64{1, 2, 4}}
	l := line{name: "all sidecars, for each request"}
	var group together
	for _, n := range c.sizes {
		for len(group) < int(n) {
			p, err := s.postern(ctx, fmt.Sprintf("replica-%d", len(group)), s.policy("redis"))
			if err != nil {
				return err
			}
			group = append(group, p)
		}
		r := at("replicas", group[0], "plain", s.warm())
		r.proxy = append(together(nil), group...)
		for _, p := range group[1:] {
			r.others = append(r.others, load.Target{Address: p.addresses["plain"]})
		}
		l.rows = append(l.rows, r)
	}
	c.lines = []line{l}
	return s.measure(ctx, c)
}
