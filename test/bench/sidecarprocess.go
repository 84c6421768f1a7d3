package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/test/podtest"
)

// podAddress returns the address of the pod in which the nth sidecar believes to be. Its app is on 127.0.0.1, at the same port.
func podAddress(n int) string { return fmt.Sprintf("127.0.0.%d", 2+n) }

// memoryLimit is the GOMEMLIMIT that the webhook sets for the default memory limit: nine tenths of 256Mi. Sidecars of the request rows have it, too:
// how often garbage is collected depends on it.
const memoryLimit = "GOMEMLIMIT=241591910"

// sidecarProcess starts the sidecar of a pod, outside of a pod: with a signed document in a folder and an operator that has no newer one.
func (s *suite) sidecarProcess(ctx context.Context, name string) (*proxy, string, error) {
	_, port, err := net.SplitHostPort(s.upstream)
	if err != nil {
		return nil, "", err
	}
	number, err := net.LookupPort("tcp", port)
	if err != nil {
		return nil, "", err
	}
	binary := filepath.Join(s.dir, "sidecar")
	address := net.JoinHostPort(podAddress(len(s.operators)), port)
	environment, admin, err := s.podEnvironment(ctx, name, uint16(number))
	if err != nil {
		return nil, "", err
	}
	environment = append(environment, memoryLimit)
	began := time.Now()
	p, err := s.start(ctx, admin, "sidecar-"+name, environment, binary)
	if err != nil {
		return nil, "", err
	}
	return &proxy{program: p, addresses: map[string]string{"plain": address, "admin": admin}, began: began}, binary, nil
}

// podEnvironment compiles the policy, and returns the environment of its sidecar and the address of its admin port.
func (s *suite) podEnvironment(ctx context.Context, name string, port uint16) (environment []string, admin string, err error) {
	file := filepath.Join(s.dir, name+"-pod.yaml")
	if err := os.WriteFile(file, []byte(s.policy(name)), 0o600); err != nil {
		return nil, "", err
	}
	text, err := exec.CommandContext(ctx, filepath.Join(s.dir, "postern"), "compile", "-f", file).Output()
	if err != nil {
		return nil, "", fmt.Errorf("compiling the policy: %w", err)
	}
	policy, err := compiled.Decode(text)
	if err != nil {
		return nil, "", err
	}
	policy.Ports = []compiled.Port{{Number: port, Protocol: "HTTP"}}
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, "", err
	}
	dir, err := s.folder("pod-" + name)
	if err != nil {
		return nil, "", err
	}
	address := podAddress(len(s.operators))
	return podtest.Pod{
		Address: address, Port: port, Secrets: filepath.Join(s.dir, "secrets"), Dir: dir, Operator: s.idleOperator(), Key: private,
	}.Environment(policy)
}

// idleOperator answers each poll after some seconds, and has no newer document.
func (s *suite) idleOperator() *httptest.Server {
	operator := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-s.ended:
		case <-time.After(20 * time.Second):
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	s.operators = append(s.operators, operator)
	return operator
}
