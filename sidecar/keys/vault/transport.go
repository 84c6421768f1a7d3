package vault

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/posterndev/postern/api/check"
)

// maxResponse bounds a response in bytes: twice the largest entry that Vault stores by default, because of JSON escapes.
const maxResponse = 2 << 20

// transport creates API clients that share one connection pool.
type transport struct {
	cfg  Config
	http *http.Client
}

func newTransport(cfg Config) (*transport, error) {
	if err := check.VaultAddress(cfg.Address); err != nil {
		return nil, err
	}
	roots, err := check.Certificates(cfg.CABundle)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: cfg.Timeout}
	t := &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    cfg.Timeout,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second},
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
	return &transport{cfg: cfg, http: &http.Client{
		Transport: bounded{t},
		// The API client itself follows one redirect, which a standby server sends.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// client returns an API client with token. It ignores the environment (VAULT_TOKEN, VAULT_NAMESPACE …): only the class decides.
func (t *transport) client(token string) (*api.Client, error) {
	c, err := api.NewClient(&api.Config{
		Address:    t.cfg.Address,
		HttpClient: t.http,
		Timeout:    t.cfg.Timeout,
		CheckRetry: func(context.Context, *http.Response, error) (bool, error) { return false, nil },
		// A redirect over plain HTTP would send the token to another machine.
		DisableRedirects: t.cfg.Address[:len("https")] != "https",
	})
	if err != nil {
		return nil, errors.New("creating the API client: a VAULT_ environment variable is invalid")
	}
	c.SetHeaders(http.Header{"X-Vault-Request": {"true"}, "User-Agent": {"postern-sidecar"}})
	c.SetWrappingLookupFunc(func(string, string) string { return "" })
	if t.cfg.Namespace != "" {
		c.SetNamespace(t.cfg.Namespace)
	}
	c.SetToken(token)
	return c, nil
}

// bounded rejects responses of more than maxResponse bytes, which the API client would read to the end.
type bounded struct{ *http.Transport }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.Transport.RoundTrip(r)
	if err == nil {
		resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxResponse}
	}
	return resp, err
}

type boundedBody struct {
	io.ReadCloser
	left int
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left+1)])
	if n > b.left {
		return 0, fmt.Errorf("the response is larger than %d bytes", maxResponse)
	}
	b.left -= n
	return n, err
}
