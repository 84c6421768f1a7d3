package soak

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// traffic is a kind of exchange with the sidecar, which several clients make all the time.
type traffic struct {
	name     string
	clients  int
	exchange func(*client) error
}

func kinds() []traffic {
	return []traffic{
		{"HTTP/1.1", 2, func(c *client) error { return c.get(c.plain) }},
		{"HTTP/1.1, TLS", 2, func(c *client) error { return c.get(c.secure) }},
		{"TLS handshakes", 1, func(c *client) error { return c.get(c.fresh) }},
		{"HTTP/2", 6, func(c *client) error { return c.get(c.h2) }},
		{"HTTP/2 without TLS", 6, func(c *client) error { return c.get(c.h2c) }},
		{"tokens", 4, (*client).withToken},
		{"bad tokens", 2, (*client).withBadToken},
		{"preflights", 1, (*client).preflight},
		{"strict limit", 2, (*client).strict},
		{"exceeded limit", 1, (*client).limited},
		{"small uploads", 4, func(c *client) error { return c.upload(100) }},
		{"uploads", 3, func(c *client) error { return c.upload(maxBody) }},
		{"downloads", 3, (*client).download},
		{"pipelined", 2, (*client).pipeline},
		{"refused heads", 1, (*client).ambiguous},
		{"hang-ups", 2, (*client).hangUp},
		{"gRPC", 3, (*client).call},
		{"gRPC streams", 2, (*client).stream},
		{"WebSockets", 2, (*client).shortSocket},
		{"long WebSockets", 3, (*client).longSocket},
	}
}

func (c *client) get(by *http.Client) error {
	path := fmt.Sprintf("/open/%d?q=%d", c.random.IntN(1000), c.random.Int())
	got, err := c.send(by, http.MethodGet, path, nil, http.StatusOK)
	return check(got, "GET "+path+" ", err)
}

func (c *client) withToken() error {
	n := c.random.IntN(people)
	got, err := c.send(c.any(), http.MethodGet, "/me", nil, http.StatusOK, "Authorization: Bearer "+c.issuer.tokens[n])
	return check(got, "GET /me "+subject(n), err)
}

// withBadToken is refused, whatever happens. A forged identity is never passed on.
func (c *client) withBadToken() error {
	token := c.issuer.bad[c.random.IntN(len(c.issuer.bad))]
	_, err := c.send(c.any(), http.MethodGet, "/me", nil, http.StatusUnauthorized, "Authorization: Bearer "+token)
	if err != nil {
		return err
	}
	got, err := c.send(c.any(), http.MethodGet, "/open/me", nil, http.StatusOK, "X-Auth-Subject: admin")
	return check(got, "GET /open/me ", err)
}

func (c *client) preflight() error {
	_, err := c.send(c.any(), http.MethodOptions, "/me", nil, http.StatusNoContent, "Access-Control-Request-Method: GET")
	return err
}

func (c *client) strict() error {
	got, err := c.send(c.any(), http.MethodGet, "/strict/a", nil, http.StatusOK)
	return check(got, "GET /strict/a ", err)
}

// limited sends more than the limit allows. In an outage of Redis the sidecar counts for itself, and a Redis
// without data counts from the start.
func (c *client) limited() error {
	got, err := c.send(c.any(), http.MethodGet, "/limited/a", nil, http.StatusOK)
	if err != nil && strings.Contains(err.Error(), "/problems/rate-limited") {
		c.overLimit.Add(1)
		return nil
	}
	return check(got, "GET /limited/a ", err)
}

func (c *client) upload(size int) error {
	content := pattern(c.random.IntN(size + 1))
	var body io.Reader = strings.NewReader(string(content))
	if c.random.IntN(2) == 0 {
		body = io.MultiReader(body) // of unknown length, so it is chunked
	}
	sum := sha256.Sum256(content)
	got, err := c.send(c.any(), http.MethodPost, "/open/sum", body, http.StatusOK)
	return check(got, fmt.Sprintf("%d %s", len(content), hex.EncodeToString(sum[:])), err)
}

func (c *client) download() error {
	n := c.random.IntN(maxBody + 1)
	path := fmt.Sprintf("/open/bytes?n=%d&type=%s", n, []string{"text/plain", "image/png"}[c.random.IntN(2)])
	if c.random.IntN(2) == 0 {
		path += "&chunked=1"
	}
	got, err := c.send(c.any(), http.MethodGet, path, nil, http.StatusOK)
	return check(got, string(pattern(n)), err)
}
