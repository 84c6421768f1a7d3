// Package service asks a service of the user's about a request: whether a password is known to be breached, or whether a challenge was
// solved. Such a service is never needed to enforce a policy's other rules. So it gets few places and little time, and if it does not
// respond, callers learn so at once.
package service

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// ErrUnavailable reports that the service gave no usable response. The rule's onFailure decides.
var ErrUnavailable = errors.New("the service is unavailable")

// Defaults of Config, and what ends and begins a pause.
const (
	DefaultTimeout  = 2 * time.Second
	DefaultParallel = 16
	// failuresToPause consecutive failures begin a pause. After it, one request is tried.
	failuresToPause = 3
	pauseFor        = 5 * time.Second
)

// Config configures a Client.
type Config struct {
	// Timeout of one request, including its body. It defaults to DefaultTimeout.
	Timeout time.Duration
	// Parallel bounds the requests in progress. It defaults to DefaultParallel. Further ones fail at once.
	Parallel int
	// Roots are the CAs of the service; nil for those of the system.
	Roots *x509.CertPool
	// Proxy defaults to that of the environment.
	Proxy func(*http.Request) (*url.URL, error)
	// Now defaults to time.Now.
	Now func() time.Time
}

// Client sends requests to one service. It is safe for concurrent use.
type Client struct {
	http   *http.Client
	places chan struct{}
	now    func() time.Time

	mu       sync.Mutex
	failures int
	until    time.Time
}

// NewClient returns a Client.
func NewClient(c Config) *Client {
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Parallel == 0 {
		c.Parallel = DefaultParallel
	}
	if c.Proxy == nil {
		c.Proxy = http.ProxyFromEnvironment
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Client{now: c.Now, places: make(chan struct{}, c.Parallel), http: &http.Client{
		Timeout: c.Timeout,
		Transport: &http.Transport{
			Proxy: c.Proxy, TLSClientConfig: &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
			MaxIdleConns: c.Parallel, MaxIdleConnsPerHost: c.Parallel, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10,
		},
		// A redirect is a response without the wanted status: no other server gets what was sent to this one.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Do sends r and returns the body of a 200, of at most limit bytes. Errors match ErrUnavailable. They contain neither the URL nor anything
// of the request, because both can have secrets. If ctx ends first, that is no failure of the service.
func (c *Client) Do(r *http.Request, limit int64) ([]byte, error) {
	if !c.mayTry() {
		return nil, fmt.Errorf("%w: it failed %d times, and is tried again in a few seconds", ErrUnavailable, failuresToPause)
	}
	select {
	case c.places <- struct{}{}:
		defer func() { <-c.places }()
	default:
		return nil, fmt.Errorf("%w: %d requests to it are in progress", ErrUnavailable, cap(c.places))
	}
	r.Header.Set("User-Agent", "postern-sidecar")
	body, err := c.send(r, limit)
	c.record(r.Context(), err)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return body, nil
}

func (c *Client) send(r *http.Request, limit int64) ([]byte, error) {
	res, err := c.http.Do(r)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it responded with status %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	switch {
	case err != nil:
		return nil, withoutURL(err)
	case int64(len(body)) > limit:
		return nil, fmt.Errorf("its response has more than %d bytes", limit)
	}
	return body, nil
}

// mayTry reports whether the service is worth a request. At the end of a pause it lets one caller through, and starts the next pause,
// which the success of that caller ends.
func (c *Client) mayTry() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failures < failuresToPause {
		return true
	}
	if now := c.now(); !now.Before(c.until) {
		c.until = now.Add(pauseFor)
		return true
	}
	return false
}

func (c *Client) record(ctx context.Context, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		c.failures = 0
	case ctx.Err() != nil: // the client of the sidecar left
	default:
		c.failures++
		c.until = c.now().Add(pauseFor)
	}
}

// withoutURL removes the URL from a client's error.
func withoutURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
