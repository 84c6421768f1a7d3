package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
)

type proxy struct {
	tokens   *tokens
	sessions sessions
	revoked  revocations
	app      *httputil.ReverseProxy
}

// newReverseProxy returns a proxy that keeps connections and reuses buffers.
func newReverseProxy(app *url.URL) *httputil.ReverseProxy {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 256
	transport.DisableCompression = true
	return &httputil.ReverseProxy{
		Rewrite:    func(r *httputil.ProxyRequest) { r.SetURL(app); r.Out.Host = r.In.Host },
		Transport:  transport,
		BufferPool: &buffers{sync.Pool{New: func() any { return new([32 << 10]byte) }}},
	}
}

type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte     { return b.pool.Get().(*[32 << 10]byte)[:] }
func (b *buffers) Put(used []byte) { b.pool.Put((*[32 << 10]byte)(used)) }

func (p *proxy) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", p.login)
	mux.HandleFunc("POST /auth/refresh", p.refresh)
	mux.HandleFunc("POST /auth/logout", p.logout)
	mux.HandleFunc("/", p.forward)
	return mux
}

// forward forwards the requests of logged-in users.
func (p *proxy) forward(w http.ResponseWriter, r *http.Request) {
	c, ok := p.caller(w, r)
	if !ok {
		return
	}
	r.Header.Del("Authorization")
	r.Header.Set("X-Auth-Subject", c.Subject)
	p.app.ServeHTTP(w, r)
}

// verified forwards requests with a valid token.
func (p *proxy) verified(w http.ResponseWriter, r *http.Request) {
	if c, ok := p.bearer(w, r); ok {
		r.Header.Del("Authorization")
		r.Header.Set("X-Auth-Subject", c.Subject)
		p.app.ServeHTTP(w, r)
	}
}

// judge answers whether a request has a valid token.
func (p *proxy) judge(w http.ResponseWriter, r *http.Request) {
	if _, ok := p.bearer(w, r); ok {
		w.WriteHeader(http.StatusNoContent)
	}
}

// answered is as long as the app's response.
var answered = bytes.Repeat([]byte("x"), 1024)

func answer(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(answered) }

// bearer verifies the token of a request. If it returns false, it has sent the response.
func (p *proxy) bearer(w http.ResponseWriter, r *http.Request) (*claims, bool) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		http.Error(w, "a token is required", http.StatusUnauthorized)
		return nil, false
	}
	c, err := p.tokens.verify(token)
	if err != nil {
		http.Error(w, "the token is not valid", http.StatusUnauthorized)
		return nil, false
	}
	return c, true
}

// caller verifies the token of a request, and looks up revocations. If it returns false, it has sent the response.
func (p *proxy) caller(w http.ResponseWriter, r *http.Request) (*claims, bool) {
	c, ok := p.bearer(w, r)
	if !ok {
		return nil, false
	}
	over, err := p.revoked.over(r.Context(), c)
	switch {
	case err != nil:
		http.Error(w, "Redis is unavailable", http.StatusServiceUnavailable)
	case over:
		http.Error(w, "the token is revoked", http.StatusUnauthorized)
	}
	return c, err == nil && !over
}

func (p *proxy) logout(w http.ResponseWriter, r *http.Request) {
	c, ok := p.caller(w, r)
	if !ok {
		return
	}
	err := p.revoked.revoke(r.Context(), c)
	if err == nil {
		err = p.sessions.end(r.Context(), c.Session)
	}
	if err != nil {
		http.Error(w, "Redis is unavailable", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// login lets the app check the password. It replaces the app's body by tokens.
func (p *proxy) login(w http.ResponseWriter, r *http.Request) {
	app := *p.app
	app.ModifyResponse = func(response *http.Response) error {
		subject := response.Header.Get("Postern-Subject")
		if response.StatusCode != http.StatusOK || subject == "" {
			return nil
		}
		body, err := p.issue(r, rand.Text(), subject)
		if err != nil {
			return err
		}
		_ = response.Body.Close()
		response.Body, response.ContentLength = body, body.size
		response.Header.Del("Postern-Subject")
		response.Header.Set("Content-Length", body.length())
		return nil
	}
	app.ServeHTTP(w, r)
}

func (p *proxy) refresh(w http.ResponseWriter, r *http.Request) {
	var given struct {
		Token string `json:"refresh_token"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10)).Decode(&given); err != nil {
		http.Error(w, "no refresh token", http.StatusBadRequest)
		return
	}
	id, subject, err := p.sessions.use(r.Context(), given.Token)
	if err != nil {
		http.Error(w, "the refresh token is not valid", http.StatusBadRequest)
		return
	}
	body, err := p.issue(r, id, subject)
	if err != nil {
		http.Error(w, "Redis is unavailable", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", body.length())
	_, _ = body.WriteTo(w)
}
