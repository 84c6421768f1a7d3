package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/posterndev/postern/test/bench/peers"
	"github.com/posterndev/postern/test/freeport"
)

// proxy is a started proxy with one or more listeners.
type proxy struct {
	*program
	// addresses are the listeners by name.
	addresses map[string]string
}

// cpu returns the CPU time of the proxy's processes.
func (p *proxy) cpu() (sum time.Duration, err error) {
	pids, err := family(p.pid())
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		t, err := cpuTime(pid)
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}

// listeners returns free addresses by name.
func listeners(names ...string) (map[string]string, error) {
	free, err := freeport.Addresses(len(names))
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, len(names))
	for i, name := range names {
		out[name] = free[i]
	}
	return out, nil
}

// folder makes a folder for a program's files.
func (b *bench) folder(name string) (string, error) {
	dir := filepath.Join(b.dir, name)
	return dir, os.MkdirAll(dir, 0o755)
}

// haproxy starts HAProxy with every listener that some row needs.
func (b *bench) haproxy(ctx context.Context, rs, es *signer) (*proxy, error) {
	dir, err := b.folder("haproxy")
	if err != nil {
		return nil, err
	}
	at, err := listeners("plain", "RS256", "ES256", "h2c")
	if err != nil {
		return nil, err
	}
	return b.configured(ctx, "haproxy", dir, at, peers.HAProxy{Dir: dir, App: b.upstream, Issuer: issuer, Audience: audience, Frontends: []peers.Frontend{
		{Name: "plain", Listen: at["plain"]},
		{Name: "rs256", Listen: at["RS256"], Algorithm: rs.algorithm, Key: rs.public},
		{Name: "es256", Listen: at["ES256"], Algorithm: es.algorithm, Key: es.public},
		{Name: "h2c", Listen: at["h2c"], HTTP2: true},
	}}, "haproxy", "-db", "-f")
}

// nginx starts nginx.
func (b *bench) nginx(ctx context.Context) (*proxy, error) {
	dir, err := b.folder("nginx")
	if err != nil {
		return nil, err
	}
	at, err := listeners("plain")
	if err != nil {
		return nil, err
	}
	return b.configured(ctx, "nginx", dir, at, peers.NGINX{Dir: dir, Root: os.Getuid() == 0, App: b.upstream, Servers: []peers.Server{
		{Listen: at["plain"]},
	}}, "nginx", "-p", dir, "-c")
}

// configured writes a configuration and starts a program with it. Its listeners are addresses.
func (b *bench) configured(ctx context.Context, name, dir string, at map[string]string, c interface{ Render() (string, error) }, args ...string) (*proxy, error) {
	text, err := c.Render()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, name+".conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return b.proxy(ctx, name, at, append(slices.Clone(args), file)...)
}

// proxy starts a program and waits until all of its listeners listen.
func (b *bench) proxy(ctx context.Context, name string, at map[string]string, args ...string) (*proxy, error) {
	var p *program
	for _, address := range at {
		var err error
		if p == nil {
			p, err = b.start(ctx, address, name, nil, args...)
		} else {
			err = p.listens(ctx, address)
		}
		if err != nil {
			return nil, err
		}
	}
	return &proxy{p, at}, nil
}

// postern starts a sidecar with a policy in front of the cheap upstream.
func (b *bench) postern(ctx context.Context, name, policy string) (*proxy, error) {
	file := filepath.Join(b.dir, name+".yaml")
	if err := os.WriteFile(file, []byte(policy), 0o600); err != nil {
		return nil, err
	}
	at, err := listeners("plain", "admin", "loopback")
	if err != nil {
		return nil, err
	}
	p, err := b.proxy(ctx, name, at, filepath.Join(b.dir, "postern"), "run", "-f", file, "--upstream", "http://"+b.upstream,
		"--listen", at["plain"], "--admin", at["admin"], "--loopback", at["loopback"], "--secrets-dir", filepath.Join(b.dir, "secrets"), "--log-format", "json")
	if err != nil {
		return nil, fmt.Errorf("policy:\n%s\n%w", strings.TrimSpace(policy), err)
	}
	return p, nil
}
