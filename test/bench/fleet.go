package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"github.com/posterndev/postern/sidecar/keys/apikey"
	"github.com/posterndev/postern/test/freeport"
)

// bench has what all measurements share: a temporary folder, a Redis and an app.
type bench struct {
	settings
	// out receives the tables, and progress the progress messages.
	out, progress io.Writer
	dir           string
	programs      []*program
	redis, app    string
	// upstream is the cheap app of the request rows.
	upstream string
	apiKey   string
	report   report
	persons  int
}

// person returns a new user name, so that a revocation in one round affects no other round.
func (b *bench) person() string {
	b.persons++
	return fmt.Sprintf("person-%d", b.persons)
}

func (b *bench) people(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = b.person()
	}
	return names
}

func newBench(ctx context.Context, s settings, out, progress io.Writer) (*bench, error) {
	if err := need(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "postern-bench-")
	if err != nil {
		return nil, err
	}
	b := &bench{settings: s, out: out, progress: progress, dir: dir, report: report{tables: map[string]string{}, plots: map[string]string{}}}
	if err := b.prepare(ctx); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) close() {
	b.stop(0)
	_ = os.RemoveAll(b.dir)
}

// stop ends all programs except the first n.
func (b *bench) stop(n int) {
	for _, p := range b.programs[n:] {
		p.stop()
	}
	b.programs = b.programs[:n]
}

func (b *bench) prepare(ctx context.Context) error {
	fmt.Fprintln(b.progress, "building")
	if err := build(ctx, b.dir); err != nil {
		return err
	}
	if err := writeKey(filepath.Join(b.dir, "secrets", "key", "key.pem")); err != nil {
		return err
	}
	if err := b.writeAPIKey(filepath.Join(b.dir, "secrets", "key", "keys.yaml")); err != nil {
		return err
	}
	ports, err := freeport.Addresses(3)
	if err != nil {
		return err
	}
	b.redis, b.app, b.upstream = ports[0], ports[1], ports[2]
	if err := b.startRedis(ctx, "redis", b.redis); err != nil {
		return err
	}
	if _, err := b.start(ctx, b.upstream, "upstream", nil, filepath.Join(b.dir, "upstream"), "-listen", b.upstream); err != nil {
		return err
	}
	_, err = b.start(ctx, b.app, "app", []string{"LISTEN=" + b.app}, filepath.Join(b.dir, "sample-app"))
	return err
}

// startRedis starts a Redis that keeps nothing on disk.
func (b *bench) startRedis(ctx context.Context, name, address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	_, err = b.start(ctx, address, name, nil, "redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no")
	return err
}

// start runs a program and waits until it listens at address.
func (b *bench) start(ctx context.Context, address, name string, env []string, args ...string) (*program, error) {
	p, err := start(b.dir, name, env, args...)
	if err != nil {
		return nil, err
	}
	b.programs = append(b.programs, p)
	return p, p.listens(ctx, address)
}

// member is one proxy in front of the app.
type member struct {
	*program
	url string
	// loopback is the address of a sidecar's app API. It is empty for a peer.
	loopback string
}

// sidecar starts a sidecar with a policy, as without a cluster (postern run).
func (b *bench) sidecar(ctx context.Context, name, policy string) (*member, error) {
	file := filepath.Join(b.dir, name+".yaml")
	if err := os.WriteFile(file, []byte(policy), 0o600); err != nil {
		return nil, err
	}
	ports, err := freeport.Addresses(3)
	if err != nil {
		return nil, err
	}
	p, err := b.start(ctx, ports[0], name, nil, filepath.Join(b.dir, "postern"), "run", "-f", file, "--upstream", "http://"+b.app,
		"--listen", ports[0], "--admin", ports[1], "--loopback", ports[2], "--secrets-dir", filepath.Join(b.dir, "secrets"))
	if err != nil {
		return nil, err
	}
	return &member{program: p, url: "http://" + ports[0], loopback: "http://" + ports[2]}, p.listens(ctx, ports[2])
}

// peer starts the hand-written proxy. revoked is how it looks up revocations: ask or poll.
func (b *bench) peer(ctx context.Context, name, revoked string) (*member, error) {
	ports, err := freeport.Addresses(1)
	if err != nil {
		return nil, err
	}
	p, err := b.start(ctx, ports[0], name, nil, filepath.Join(b.dir, "peer"), "-listen", ports[0], "-upstream", "http://"+b.app,
		"-redis", b.redis, "-key", filepath.Join(b.dir, "secrets", "key", "key.pem"), "-revoked", revoked)
	if err != nil {
		return nil, err
	}
	return &member{program: p, url: "http://" + ports[0]}, nil
}

// writeKey writes the P-256 key with which sidecars and peers sign.
func writeKey(file string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

// writeAPIKey creates an API key and writes the file in which sidecars find it.
func (b *bench) writeAPIKey(file string) (err error) {
	if b.apiKey, err = apikey.New(); err != nil {
		return err
	}
	return os.WriteFile(file, fmt.Appendf(nil, "- {id: bench, subject: bench, hash: %q}\n", apikey.Hash(b.apiKey)), 0o600)
}
