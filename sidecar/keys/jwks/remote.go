package jwks

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/api/check/keyset"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

// maxRedirects is the maximum number of redirects of a fetch, all on the same server.
const maxRedirects = 3

// remote loads a set from its issuer.
type remote struct {
	uri string
	// bearer is the token of the Authorization header; nil if the set is public.
	bearer secret.Source
	// caFile has the CAs of the server, if it is not empty, and ca is its content when client was made.
	caFile string
	ca     secret.Value
	// connect makes a client for a server that is signed by one of these CAs.
	connect func(*x509.CertPool) *http.Client
	client  *http.Client
	options keyset.Options
	now     func() time.Time
	// etag and modified are the validators of the last good response. They need no lock, because calls of load never overlap.
	etag, modified string
}

// newClient returns a client for one source, with its own time limits, and the certificates of the system if roots is nil.
func (m *Manager) newClient(roots *x509.CertPool) *http.Client {
	timeout := m.pace.timeout
	dialer := &net.Dialer{Timeout: timeout}
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			Proxy:                  m.proxy,
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2:      true,
			MaxIdleConns:           1,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: checkRedirect,
	}
}

// checkRedirect accepts redirects to the same scheme, host and port only, because no other server is trusted with the keys. The
// redirected request does not carry the bearer token.
func checkRedirect(req *http.Request, via []*http.Request) error {
	req.Header.Del("Authorization")
	first := via[0].URL
	switch {
	case req.URL.Scheme != first.Scheme || req.URL.Host != first.Host:
		return errors.New("redirected to another server")
	case req.URL.User != nil:
		return errors.New("redirected to an address with credentials")
	case len(via) > maxRedirects:
		return fmt.Errorf("redirected more than %d times", maxRedirects)
	}
	return nil
}

// load fetches the set. Errors never contain the URL, which may have a secret in its query.
func (r *remote) load(ctx context.Context, last *content) (*content, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.uri, nil)
	if err != nil {
		return nil, errors.New("fetching key set: the URL is not valid")
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	req.Header.Set("User-Agent", "postern-sidecar")
	if err := r.authenticate(req); err != nil {
		return nil, fmt.Errorf("fetching key set: %w", err)
	}
	if err := r.trust(ctx); err != nil {
		return nil, fmt.Errorf("fetching key set: %w", err)
	}
	conditional := last != nil && r.setConditions(req)
	res, err := r.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("fetching key set: %w", withoutURL(err))
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusNotModified && conditional:
		return &content{set: last.set, body: last.body, at: r.now()}, nil
	case res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden:
		return nil, fmt.Errorf("fetching key set: the server responded with status %d, so it asks for a bearer token, or refuses the one it got: see jwks.bearerToken", res.StatusCode)
	case res.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("fetching key set: the server responded with status %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, keyset.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("fetching key set: %w", withoutURL(err))
	}
	return r.accept(body, res.Header, last)
}

// maxBearer is the maximum length of a bearer token, in bytes.
const maxBearer = 16 << 10

// authenticate adds the bearer token, if there is one.
func (r *remote) authenticate(req *http.Request) error {
	if r.bearer == nil {
		return nil
	}
	value, err := r.bearer.Read(req.Context())
	if err != nil {
		return fmt.Errorf("reading the bearer token: %w", err)
	}
	token := strings.TrimSpace(string(value.Reveal()))
	if token == "" || len(token) > maxBearer || strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return errors.New("reading the bearer token: it is not one line of printable text")
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return nil
}

// trust makes a new client if the CAs in caFile changed.
func (r *remote) trust(ctx context.Context) error {
	if r.caFile == "" {
		return nil
	}
	ca, err := secret.File(r.caFile).Read(ctx)
	if err != nil {
		return fmt.Errorf("reading the CA of the cluster: %w", err)
	}
	if ca.Equal(r.ca) {
		return nil
	}
	roots, err := check.Certificates(ca.Reveal())
	if err != nil {
		return fmt.Errorf("reading the CA of the cluster: %w", err)
	}
	r.client.CloseIdleConnections()
	r.client, r.ca = r.connect(roots), ca
	return nil
}

// setConditions makes the request conditional on a change since the last set (RFC 9110 §13.1). It returns false if there are no
// validators.
func (r *remote) setConditions(req *http.Request) bool {
	if r.etag != "" {
		req.Header.Set("If-None-Match", r.etag)
	}
	if r.modified != "" {
		req.Header.Set("If-Modified-Since", r.modified)
	}
	return r.etag != "" || r.modified != ""
}

func (r *remote) accept(body []byte, header http.Header, last *content) (*content, error) {
	next := &content{body: body, at: r.now()}
	if last != nil && bytes.Equal(body, last.body) {
		next.set, next.body = last.set, last.body
	} else {
		set, err := keyset.Parse(body, r.options)
		if err != nil {
			return nil, err
		}
		next.set = set
	}
	r.etag, r.modified = header.Get("ETag"), header.Get("Last-Modified")
	return next, nil
}

// withoutURL removes the URL from a client's error.
func withoutURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
