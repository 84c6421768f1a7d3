package soak

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// client is one client of the sidecar. It makes one exchange after the other.
type client struct {
	*world
	random *rand.Rand
	// plain keeps a connection of its own, and secure one with TLS. fresh makes a new connection with TLS for each request.
	plain, secure, fresh *http.Client
	socket               *websocket.Conn
}

func (w *world) newClient(seed uint64) *client {
	http1 := protocols(func(p *http.Protocols) { p.SetHTTP1(true) })
	fresh := &http.Transport{Protocols: http1, TLSClientConfig: w.tlsConfig(), DisableKeepAlives: true}
	fresh.TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	return &client{
		world: w, random: rand.New(rand.NewPCG(w.seed, seed)),
		plain:  &http.Client{Timeout: waitLimit, Transport: &http.Transport{Protocols: http1}},
		secure: &http.Client{Timeout: waitLimit, Transport: &http.Transport{Protocols: http1, TLSClientConfig: w.tlsConfig()}},
		fresh:  &http.Client{Timeout: waitLimit, Transport: fresh},
	}
}

func protocols(set func(*http.Protocols)) *http.Protocols {
	p := &http.Protocols{}
	set(p)
	return p
}

// close closes the client's connections.
func (c *client) close() {
	for _, one := range []*http.Client{c.plain, c.secure, c.fresh} {
		one.CloseIdleConnections()
	}
	if c.socket != nil {
		_ = c.socket.CloseNow()
	}
}

// url returns the URL of a path for a client of the standard library.
func (c *client) url(by *http.Client, path string) string {
	if by == c.plain || by == c.h2c {
		return "http://" + c.sidecar.address + path
	}
	return "https://" + c.sidecar.address + path
}

// any returns one of the clients of the standard library.
func (c *client) any() *http.Client {
	return []*http.Client{c.plain, c.secure, c.h2, c.h2c}[c.random.IntN(4)]
}

// send sends a request to a path and returns the body of the response, which must have the status want.
func (c *client) send(by *http.Client, method, path string, body io.Reader, want int, fields ...string) (string, error) {
	r, err := http.NewRequest(method, c.url(by, path), body)
	if err != nil {
		return "", err
	}
	for _, f := range append(fields, "Origin: "+origin) {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Set(name, value)
	}
	lowest := c.revision.Load()
	resp, err := by.Do(r)
	if err != nil && body != nil {
		return "", of(err, appAway, appCloses) // the sidecar does not read the rest of a body that the app cannot take
	}
	if err != nil {
		return "", of(err, appAway) // the app may be stopped after the head of its response, of which the sidecar has sent nothing yet
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", of(fmt.Errorf("%s %s: reading the body after %d bytes: %w", method, path, len(got), err), appAway)
	}
	if err := c.checkFields(resp, lowest); err != nil {
		return "", fmt.Errorf("%s %s: %s: %w", method, path, resp.Status, err)
	}
	if resp.StatusCode != want {
		return "", excuse(fmt.Errorf("%s %s: %s: %.300q", method, path, resp.Status, got), string(got), body == nil)
	}
	return string(got), nil
}

// checkFields checks what each response has, refusals included. lowest is the oldest revision of the policy that may have been enforced.
func (c *client) checkFields(resp *http.Response, lowest int64) error {
	if n, err := strconv.ParseInt(resp.Header.Get("X-Revision"), 10, 64); err != nil || n < lowest {
		return fmt.Errorf("X-Revision is %q; the sidecar has reported %d", resp.Header.Get("X-Revision"), lowest)
	}
	if resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("Access-Control-Allow-Origin") != origin {
		return fmt.Errorf("fields are missing: %v", resp.Header)
	}
	if code := resp.StatusCode; (code == http.StatusServiceUnavailable || code == http.StatusTooManyRequests) && resp.Header.Get("Retry-After") == "" {
		return errors.New("without Retry-After")
	}
	return nil
}

// Problem codes of responses that are right only during a fault.
var (
	appCodes   = []httperr.Code{"app-unreachable", "app-bad-response", "app-timeout"}
	redisCodes = []httperr.Code{"rate-limit-unavailable", "session-unavailable", "revocation-unavailable"}
)

// excuse says which faults have the response with the given text as a consequence. A request without side effects is sent again if the app
// closes a connection that was not used.
func excuse(err error, text string, safe bool) error {
	names := func(code httperr.Code) bool { return strings.Contains(text, string(code)) }
	switch {
	case slices.ContainsFunc(appCodes, names) && safe:
		return of(err, appAway)
	case slices.ContainsFunc(appCodes, names):
		return of(err, appAway, appCloses)
	case slices.ContainsFunc(redisCodes, names):
		return of(err, redisAway)
	}
	return err
}

// dial opens a connection for requests that no library sends.
func (c *client) dial() (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", c.sidecar.address, waitLimit)
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(waitLimit))
}

// check compares what came with what should have come.
func check(got, want string, err error) error {
	if err == nil && got != want {
		return fmt.Errorf("got %.200q, want %.200q", got, want)
	}
	return err
}
