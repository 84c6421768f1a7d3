// Package vaulttest runs a real Vault server for tests, on a loopback port with TLS, and its failures. Without the server's
// binary a test fails; it is not skipped, because these tests are about the behaviour of Vault.
package vaulttest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/posterndev/postern/test/freeport"
)

// waitLimit bounds every wait of the package. A machine that also runs other tests is slow.
const callerWait = 60 * time.Second

// rootToken is the root token of every server.
const rootToken = "vaulttest-root"

// Server is a running Vault: unsealed, with KV version 2 at secret/ and Transit at transit/.
type Server struct {
	// Address is https://127.0.0.1:port.
	Address string
	// CABundle is the CA certificate of the server, as PEM.
	CABundle []byte

	dir       string
	unsealKey string
	root      *api.Client
	cmd       *exec.Cmd
	done      chan struct{}
	stderr    bytes.Buffer
}

// Start starts a server. A test package shares one server: TestMain starts it, and ends it with Stop.
func Start() (*Server, error) {
	bin, err := Binary()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "vaulttest")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, done: make(chan struct{})}
	if err := s.run(bin); err != nil {
		s.Stop()
		return nil, fmt.Errorf("starting Vault: %w: %s", err, &s.stderr)
	}
	return s, nil
}

// Binary returns the path where hack/cluster/build.sh puts the server's binary.
func Binary() (string, error) {
	cache := os.Getenv("POSTERN_CACHE")
	if cache == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(base, "postern")
	}
	path := filepath.Join(cache, "cluster", "bin", "vault")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("the Vault server is not built: run `hack/cluster/build.sh vault` (%w)", err)
	}
	return path, nil
}

func (s *Server) run(bin string) error {
	cert, key, err := s.makeCertificates()
	if err != nil {
		return err
	}
	addresses, err := freeport.Addresses(1)
	if err != nil {
		return err
	}
	s.cmd = exec.Command(bin, "-listen", addresses[0], "-root-token", rootToken, "-tls-cert", cert, "-tls-key", key)
	s.cmd.Stderr = &s.stderr
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	go func() { _ = s.cmd.Wait(); close(s.done) }()
	if err != nil {
		return fmt.Errorf("reading its address: %w", err)
	}
	var said struct{ Address, UnsealKey string }
	if err := json.Unmarshal(line, &said); err != nil {
		return fmt.Errorf("reading its address: %w", err)
	}
	s.Address, s.unsealKey = said.Address, said.UnsealKey
	return s.prepare()
}

// prepare creates the administrator's client and mounts the engines.
func (s *Server) prepare() error {
	cfg := api.DefaultConfig()
	cfg.Address, cfg.Timeout = s.Address, callerWait
	if err := cfg.ConfigureTLS(&api.TLSConfig{CACertBytes: s.CABundle}); err != nil {
		return err
	}
	var err error
	if s.root, err = api.NewClient(cfg); err != nil {
		return err
	}
	s.root.SetToken(rootToken)
	for path, mount := range map[string]*api.MountInput{
		"secret":  {Type: "kv", Options: map[string]string{"version": "2"}},
		"transit": {Type: "transit"},
	} {
		if err := s.root.Sys().Mount(path, mount); err != nil {
			return fmt.Errorf("mounting %s: %w", path, err)
		}
	}
	return nil
}

// Stop kills the server: connections are reset and its port refuses new ones. Its data is lost.
func (s *Server) Stop() {
	if s.cmd != nil && s.cmd.Process != nil {
		_ = s.cmd.Process.Kill()
		<-s.done
	}
	_ = os.RemoveAll(s.dir)
}

// Seal seals the server until Unseal.
func (s *Server) Seal(tb testing.TB) {
	tb.Helper()
	if err := s.root.Sys().Seal(); err != nil {
		tb.Fatalf("sealing Vault: %v", err)
	}
}

// Unseal undoes Seal.
func (s *Server) Unseal(tb testing.TB) {
	tb.Helper()
	st, err := s.root.Sys().Unseal(s.unsealKey)
	if err != nil || st.Sealed {
		tb.Fatalf("unsealing Vault: %v", err)
	}
	Eventually(tb, "Vault to become active", func() bool {
		_, err := s.root.Logical().Read("auth/token/lookup-self")
		return err == nil
	})
}

// Root returns the administrator's client.
func (s *Server) Root() *api.Client { return s.root }

// Write writes to Vault as administrator.
func (s *Server) Write(tb testing.TB, path string, data map[string]any) *api.Secret {
	tb.Helper()
	secret, err := s.root.Logical().WriteWithContext(context.Background(), path, data)
	if err != nil {
		tb.Fatalf("writing %s: %v", path, err)
	}
	return secret
}

// Put writes a version of the KV secret with that name.
func (s *Server) Put(tb testing.TB, name string, values map[string]any) {
	tb.Helper()
	s.Write(tb, "secret/data/"+name, map[string]any{"data": values})
}

// Policy writes a policy.
func (s *Server) Policy(tb testing.TB, name, rules string) {
	tb.Helper()
	if err := s.root.Sys().PutPolicy(name, rules); err != nil {
		tb.Fatalf("writing policy: %v", err)
	}
}

// Eventually waits until ok returns true. After waitLimit it fails the test with what.
func Eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.Now().Add(callerWait)
	for !ok() {
		if time.Now().After(deadline) {
			tb.Fatalf("timed out waiting for %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
