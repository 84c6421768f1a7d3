package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/posterndev/postern/test/freeport"
)

// proxy is a started proxy with one or more listeners.
type proxy struct {
	*program
	// addresses are the listeners by name.
	addresses map[string]string
	// with is a second program that works for the proxy; nil for none.
	with *proxy
	// began is when the program was started.
	began time.Time
}

// cpu returns the CPU time of the proxy's processes.
func (p *proxy) cpu() (sum time.Duration, err error) {
	if p.with != nil {
		if sum, err = p.with.cpu(); err != nil {
			return 0, err
		}
	}
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
	return b.proxyWith(ctx, name, nil, at, args...)
}

func (b *bench) proxyWith(ctx context.Context, name string, env []string, at map[string]string, args ...string) (*proxy, error) {
	var p *program
	began := time.Now()
	for _, address := range at {
		var err error
		if p == nil {
			p, err = b.start(ctx, address, name, env, args...)
		} else {
			err = p.listens(ctx, address)
		}
		if err != nil {
			return nil, err
		}
	}
	return &proxy{program: p, addresses: at, began: began}, nil
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
	p, err := b.proxyWith(ctx, name, []string{memoryLimit}, at, filepath.Join(b.dir, "postern"), "run", "-f", file, "--upstream", "http://"+b.upstream,
		"--listen", at["plain"], "--admin", at["admin"], "--loopback", at["loopback"], "--secrets-dir", filepath.Join(b.dir, "secrets"), "--log-format", "json")
	if err != nil {
		return nil, fmt.Errorf("policy:\n%s\n%w", strings.TrimSpace(policy), err)
	}
	return p, nil
}
