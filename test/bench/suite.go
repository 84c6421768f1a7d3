package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"

	"golang.org/x/net/http2/hpack"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/test/bench/load"
	"github.com/posterndev/postern/test/bench/peers"
)

// warmTokens is the number of users whose tokens are used again and again.
const warmTokens = 64

// suite is what the measurements of requests share: the issuer with its keys and tokens, and the proxies, each started when it is needed.
type suite struct {
	*bench
	issuer       string
	server       *http.Server
	rs, es       *signer
	keys         string
	client       *tls.Config
	tokens, toES []string
	started      map[string]*proxy
	below        int
	measured     []*row
	steady, half []*delay
	memoryGoals  []goal
	curveGoals   []goal
	operators    []*httptest.Server
	ended        chan struct{} // lets the operators' polls end
}

func (b *bench) newSuite() (*suite, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &suite{bench: b, issuer: "http://" + l.Addr().String(), started: map[string]*proxy{}, below: len(b.programs), ended: make(chan struct{})}
	if err := s.prepare(l); err != nil {
		_ = l.Close()
		return nil, err
	}
	return s, nil
}

func (s *suite) prepare(l net.Listener) (err error) {
	if s.rs, s.es, err = newSigners(s.dir, s.issuer); err != nil {
		return err
	}
	if s.keys, err = jwks(s.rs, s.es); err != nil {
		return err
	}
	if s.tokens, err = s.rs.tokens(warmTokens); err != nil {
		return err
	}
	if s.toES, err = s.es.tokens(warmTokens); err != nil {
		return err
	}
	var dirs []string
	for _, name := range []string{"nginx", "haproxy", filepath.Join("secrets", "bench-tls")} {
		dir, err := s.folder(name)
		if err != nil {
			return err
		}
		dirs = append(dirs, dir)
	}
	if s.client, err = writeCertificate(dirs...); err != nil {
		return err
	}
	s.server = serveIssuer(l, s.keys)
	return nil
}

func (s *suite) end() {
	_ = s.server.Close()
	s.stop(s.below)
	close(s.ended)
	for _, o := range s.operators {
		o.Close()
	}
}

// once starts a proxy at its first use.
func (s *suite) once(ctx context.Context, name string, start func(context.Context) (*proxy, error)) (*proxy, error) {
	if p := s.started[name]; p != nil {
		return p, nil
	}
	p, err := start(ctx)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	s.started[name] = p
	return p, nil
}

// sidecar starts a sidecar with a policy, once.
func (s *suite) postern(ctx context.Context, name, policy string) (*proxy, error) {
	return s.once(ctx, name, func(ctx context.Context) (*proxy, error) { return s.bench.postern(ctx, name, policy) })
}

// The policies by the names of their sidecars.
func (s *suite) policy(name string) string {
	jwt := provider(s.issuer, s.keys)
	switch name {
	case "none":
		return policyOf("", "")
	case "jwt":
		return policyOf("", jwt)
	case "all":
		return policyOf("", jwt+everything)
	case "redis":
		return policyOf(redisClass(s.redis), jwt+oneLimit)
	case "tls":
		return policyOf("", withTLS)
	}
	panic("no policy " + name)
}

// hasTLS reports whether policies of this build have spec.tls.
func hasTLS() bool {
	_, has := reflect.TypeFor[v1alpha1.SecurityPolicySpec]().FieldByName("TLS")
	return has
}

// haproxy starts HAProxy with every listener that some row needs.
func (s *suite) haproxy(ctx context.Context) (*proxy, error) {
	return s.once(ctx, "haproxy", func(ctx context.Context) (*proxy, error) {
		at, err := listeners("plain", "RS256", "ES256", "h2c", "tls")
		if err != nil {
			return nil, err
		}
		dir := filepath.Join(s.dir, "haproxy")
		return s.configured(ctx, "haproxy", dir, at, peers.HAProxy{Dir: dir, App: s.upstream, Issuer: s.issuer, Audience: tokenAudience, Frontends: []peers.Frontend{
			{Name: "plain", Listen: at["plain"]},
			{Name: "rs256", Listen: at["RS256"], Algorithm: "RS256", Key: s.rs.public},
			{Name: "es256", Listen: at["ES256"], Algorithm: "ES256", Key: s.es.public},
			{Name: "h2c", Listen: at["h2c"], HTTP2: true},
			{Name: "tls", Listen: at["tls"], TLS: true},
		}}, "haproxy", "-db", "-f")
	})
}

// nginx starts nginx, and with auth the verifier that it asks.
func (s *suite) nginx(ctx context.Context) (*proxy, error) {
	return s.once(ctx, "nginx", func(ctx context.Context) (*proxy, error) {
		at, err := listeners("plain", "auth", "h2c", "tls")
		if err != nil {
			return nil, err
		}
		verifier, err := s.verifier(ctx, "verifier", "auth")
		if err != nil {
			return nil, err
		}
		dir := filepath.Join(s.dir, "nginx")
		c := peers.NGINX{Dir: dir, Root: os.Getuid() == 0, App: s.upstream, Verifier: verifier.addresses["plain"], Servers: []peers.Server{
			{Listen: at["plain"]}, {Listen: at["auth"], Auth: true}, {Listen: at["h2c"], HTTP2: true}, {Listen: at["tls"], TLS: true},
		}}
		p, err := s.configured(ctx, "nginx", dir, at, c, "nginx", "-p", dir, "-c")
		if err == nil {
			p.with = verifier
		}
		return p, err
	})
}

// verifier starts the proxy with golang-jwt, or with the mode auth only its verification.
func (s *suite) verifier(ctx context.Context, name, mode string) (*proxy, error) {
	return s.once(ctx, name, func(ctx context.Context) (*proxy, error) {
		at, err := listeners("plain")
		if err != nil {
			return nil, err
		}
		key := s.rs.public
		if mode == "off" || mode == "answer" {
			key = filepath.Join(s.dir, "secrets", "key", "key.pem")
		}
		return s.proxy(ctx, name, at, filepath.Join(s.dir, "peer"), "-listen", at["plain"], "-upstream", "http://"+s.upstream, "-redis", s.redis,
			"-key", key, "-issuer", s.issuer, "-audience", tokenAudience, "-revoked", mode)
	})
}

func (s *suite) caddy(ctx context.Context) (*proxy, error) {
	return s.once(ctx, "caddy", func(ctx context.Context) (*proxy, error) {
		at, err := listeners("plain")
		if err != nil {
			return nil, err
		}
		dir, err := s.folder("caddy")
		if err != nil {
			return nil, err
		}
		_, port, err := net.SplitHostPort(at["plain"])
		if err != nil {
			return nil, err
		}
		return s.configured(ctx, "caddy", dir, at, peers.Caddy{Dir: dir, Listen: ":" + port, App: s.upstream}, "caddy", "run", "--adapter", "caddyfile", "--config")
	})
}

func (s *suite) oauth2Proxy(ctx context.Context) (*proxy, error) {
	return s.once(ctx, "oauth2-proxy", func(ctx context.Context) (*proxy, error) {
		at, err := listeners("plain")
		if err != nil {
			return nil, err
		}
		dir, err := s.folder("oauth2-proxy")
		if err != nil {
			return nil, err
		}
		binary, err := oauth2ProxyBinary()
		if err != nil {
			return nil, err
		}
		c := peers.OAuth2Proxy{Listen: at["plain"], App: s.upstream, Issuer: s.issuer, Audience: tokenAudience}
		return s.configured(ctx, "oauth2-proxy", dir, at, c, binary, "--config")
	})
}

// oauth2ProxyBinary finds the binary that hack/cluster/build.sh builds, or one on the PATH.
func oauth2ProxyBinary() (string, error) {
	cache := os.Getenv("POSTERN_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(user, "postern")
	}
	if built := filepath.Join(cache, "cluster", "bin", "oauth2-proxy"); exists(built) {
		return built, nil
	}
	found, err := exec.LookPath("oauth2-proxy")
	if err != nil {
		return "", fmt.Errorf("oauth2-proxy is missing; build it with hack/cluster/build.sh oauth2-proxy: %w", err)
	}
	return found, nil
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// plain are requests without a token, warm and warmES with tokens that are used again and again.
func (s *suite) plain() load.Requests  { return load.Requests{get("/", "")} }
func (s *suite) warm() load.Requests   { return gets("/", s.tokens) }
func (s *suite) warmES() load.Requests { return gets("/", s.toES) }

// plain2 is plain as HTTP/2.
func (s *suite) plain2() (load.Requests, error) {
	block, err := load.Fields{
		{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: serverName}, {Name: ":path", Value: "/"},
		{Name: "user-agent", Value: "bench/1"}, {Name: "accept", Value: "*/*"}, hpack.HeaderField{Name: "origin", Value: "https://shop.example.com"},
	}.Encode()
	return load.Requests{block}, err
}
