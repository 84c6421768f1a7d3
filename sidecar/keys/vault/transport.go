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

// maxAnswer bounds an answer in bytes: twice the largest entry that Vault stores by default, for JSON's escapes.
const maxAnswer = 2 << 20

// transport makes API clients over one pool of connections.
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
		// The API client itself follows one redirect, as a standby answers.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// client makes an API client that holds token. What the environment says (VAULT_TOKEN, VAULT_NAMESPACE …) does not count:
// the class alone decides.
func (t *transport) client(token string) (*api.Client, error) {
	c, err := api.NewClient(&api.Config{
		Address:    t.cfg.Address,
		HttpClient: t.http,
		Timeout:    t.cfg.Timeout,
		CheckRetry: func(context.Context, *http.Response, error) (bool, error) { return false, nil },
		// A redirect in plain HTTP would carry the token to another machine.
		DisableRedirects: t.cfg.Address[:len("https")] != "https",
	})
	if err != nil {
		return nil, errors.New("making the API client: a VAULT_ variable of the environment cannot be read")
	}
	c.SetHeaders(http.Header{"X-Vault-Request": {"true"}, "User-Agent": {"postern-sidecar"}})
	c.SetWrappingLookupFunc(func(string, string) string { return "" })
	if t.cfg.Namespace != "" {
		c.SetNamespace(t.cfg.Namespace)
	}
	c.SetToken(token)
	return c, nil
}

// bounded refuses answers of more than maxAnswer bytes, which the API client would read to the end.
type bounded struct{ *http.Transport }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.Transport.RoundTrip(r)
	if err == nil {
		resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxAnswer}
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
		return 0, fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	}
	b.left -= n
	return n, err
}
