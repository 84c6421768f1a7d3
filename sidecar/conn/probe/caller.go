package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
)

const (
	probeAgent = "kube-probe/postern"
	hookAgent  = "kube-lifecycle/postern"
	// maxBody is how much of a response is read, in bytes; the kubelet's own limit.
	maxBody = 10 << 10
	// maxRedirects is the kubelet's limit.
	maxRedirects = 10
)

// caller calls the app.
type caller struct {
	target func(port uint16) string
	dialer net.Dialer
	http   *http.Client
	grpc   *http.Client
}

func newCaller(target func(port uint16) string) *caller {
	c := &caller{target: target}
	c.http = &http.Client{CheckRedirect: sameHost, Transport: &http.Transport{
		DialContext:            c.dialer.DialContext,
		TLSClientConfig:        &tls.Config{InsecureSkipVerify: true}, // the kubelet's rule: probes name no CA
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxBody,
	}}
	h2c := new(http.Protocols)
	h2c.SetUnencryptedHTTP2(true)
	c.grpc = &http.Client{CheckRedirect: sameHost, Transport: &http.Transport{
		DialContext:            c.dialer.DialContext,
		Protocols:              h2c,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxBody,
	}}
	return c
}

// sameHost follows redirects on the app's own port and returns all others as the response, which counts as healthy. The kubelet
// compares the host without its port; here that would lead from the app's port to whatever else listens on loopback.
func sameHost(r *http.Request, via []*http.Request) error {
	switch {
	case r.URL.Host != via[0].URL.Host:
		return http.ErrUseLastResponse
	case len(via) >= maxRedirects:
		return errors.New("following redirects: there are more than 10")
	}
	return nil
}

// check probes once; nil is healthy.
func (c *caller) check(ctx context.Context, p Probe) error {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	switch {
	case p.HTTP != nil:
		status, err := c.get(ctx, p.HTTP, probeAgent)
		if err == nil && (status < 200 || status >= 400) {
			err = fmt.Errorf("calling the app by HTTP: status %d", status)
		}
		return err
	case p.TCP != nil:
		conn, err := c.dialer.DialContext(ctx, "tcp", c.target(p.TCP.Port))
		if err != nil {
			return fmt.Errorf("calling the app by TCP: %w", err)
		}
		_ = conn.Close() // it opened, which is what the probe checks
		return nil
	}
	return c.health(ctx, p.GRPC)
}

// hook calls once; any response is a success, as it is for the kubelet (runHTTPHandler in pkg/kubelet/lifecycle).
func (c *caller) hook(ctx context.Context, p Probe) error {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	_, err := c.get(ctx, p.HTTP, hookAgent)
	return err
}

func (c *caller) get(ctx context.Context, h *HTTP, agent string) (status int, err error) {
	u := h.url(c.target(h.Port))
	r := (&http.Request{Method: http.MethodGet, URL: u, Host: h.Host, Header: http.Header{}}).WithContext(ctx)
	r.Header.Set("Accept", "*/*")
	r.Header.Set("User-Agent", agent)
	seen := map[string]bool{}
	for _, f := range h.Headers {
		name := http.CanonicalHeaderKey(f.Name)
		switch {
		case name == "Host":
			r.Host = f.Value
		case seen[name]:
			r.Header.Add(name, f.Value)
		default:
			r.Header.Set(name, f.Value) // replaces the defaults above
		}
		seen[name] = true
	}
	res, err := c.http.Do(r)
	if err != nil {
		return 0, fmt.Errorf("calling the app by HTTP: %w", err)
	}
	defer res.Body.Close()
	if _, err := io.CopyN(io.Discard, res.Body, maxBody); err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("reading the app's response: %w", err)
	}
	return res.StatusCode, nil
}
