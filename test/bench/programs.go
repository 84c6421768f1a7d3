package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// waitLimit bounds the wait for a program to listen.
const waitLimit = 30 * time.Second

// need returns an error that names a missing program and how to install it.
func need() error {
	var errs []error
	for _, p := range []struct{ name, from string }{
		{"redis-server", "on Debian, as root: apt-get install redis-server"}, {"go", "https://go.dev/dl"},
		{"nginx", "on Debian, as root: apt-get install nginx"}, {"haproxy", "on Debian, as root: apt-get install haproxy"},
		{"caddy", "on Debian, as root: apt-get install caddy"},
	} {
		if _, err := exec.LookPath(p.name); err != nil {
			errs = append(errs, fmt.Errorf("%s is missing; %s", p.name, p.from))
		}
	}
	return errors.Join(errs...)
}

// build compiles the measured programs and the peers from this tree.
func build(ctx context.Context, dir string) error {
	return goBuild(ctx, dir, "cmd/postern", "cmd/sidecar", "hack/sample-app", "test/bench/peer", "test/bench/upstream", "test/bench/recorder")
}

// goBuild compiles packages of this module into dir.
func goBuild(ctx context.Context, dir string, packages ...string) error {
	args := []string{"build", "-trimpath", "-o", dir + "/"}
	for _, p := range packages {
		args = append(args, "github.com/posterndev/postern/"+p)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building: %w\n%s", err, out)
	}
	return nil
}

// program is a started program.
type program struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

// start runs a program until stop, or until the bench ends. Its output goes to a file in dir.
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

// listens waits until the program accepts connections.
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
			return p.ended()
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", p.name, errors.Join(err, ctx.Err()))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// maxSaid bounds how much of a log an error quotes, in bytes.
const maxSaid = 2 << 10

// ended returns the error of a program that has ended, with the end of its log.
func (p *program) ended() error {
	said, _ := os.ReadFile(p.log)
	return fmt.Errorf("%s has ended (%s): %s", p.name, p.cmd.ProcessState, said[max(0, len(said)-maxSaid):])
}

func (p *program) stop() {
	_ = syscall.Kill(-p.pid(), syscall.SIGKILL) // its group: nginx's workers outlive a killed master
	<-p.done
}
