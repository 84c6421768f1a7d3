package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// waitLimit bounds the wait for a program to answer.
const waitLimit = 30 * time.Second

// need says what is missing.
func need() error {
	var errs []error
	for _, p := range []struct{ name, from string }{
		{"redis-server", "on Debian, as root: apt-get install redis-server"}, {"go", "https://go.dev/dl"},
	} {
		if _, err := exec.LookPath(p.name); err != nil {
			errs = append(errs, fmt.Errorf("%s is missing; %s", p.name, p.from))
		}
	}
	return errors.Join(errs...)
}

// build compiles what is measured, and what it is compared with, from this tree.
func build(ctx context.Context, dir string) error {
	const module = "github.com/posterndev/postern/"
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", dir+"/", module+"cmd/postern", module+"hack/sample-app", module+"test/bench/peer")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building: %w\n%s", err, out)
	}
	return nil
}

// program is one that was started.
type program struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

// start runs a program until stop, or until the bench ends; what it says goes into a file of dir.
func start(dir, name string, env []string, args ...string) (*program, error) {
	p := &program{name: name, log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, log, log
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = attributes()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	return p, nil
}

func (p *program) pid() int { return p.cmd.Process.Pid }

// listens waits until the program takes connections.
func (p *program) listens(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.done:
			said, _ := os.ReadFile(p.log)
			return fmt.Errorf("%s has ended: %s", p.name, said)
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", p.name, errors.Join(err, ctx.Err()))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (p *program) stop() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// freePorts are n addresses of 127.0.0.1 that nobody has. They are not those that the kernel gives to clients, and to servers
// that ask for any: one of these could be gone before a program that was told of it listens there.
func freePorts(n int) ([]string, error) {
	const lowest, highest, attempts = 20000, 29999, 1000
	var addresses []string
	for range attempts {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lowest+rand.IntN(highest-lowest+1)))
		if err != nil {
			continue
		}
		defer l.Close()
		if addresses = append(addresses, l.Addr().String()); len(addresses) == n {
			return addresses, nil
		}
	}
	return nil, fmt.Errorf("no %d ports are free between %d and %d", n, lowest, highest)
}
