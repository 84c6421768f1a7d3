package loginprotection

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/response"
)

// Bounds of what is remembered of a response: bytes of its body, and of its header. A longer response is not remembered.
const (
	maxSample       = 16 << 10
	maxSampleHeader = 8 << 10
	// sampleLasts is how long the sample of a route is kept in the store, and sampleEvery how often it is written at most.
	sampleLasts = 7 * 24 * time.Hour
	sampleEvery = time.Minute
	// times is how many durations of the app's responses are remembered per route.
	times = 16
	// candidates is how many different responses of a route are compared with later ones.
	candidates     = 8
	candidateLasts = time.Hour
	// maxForms bounds the forms of a route's responses that are remembered: those of some hosts, beside the general ones.
	maxForms = 64
	// longestWait bounds the time that a refusal waits to take as long as a response of the app.
	longestWait = 3 * time.Second
)

// sample is the app's response to a wrong password, or to a request for a new one.
type sample struct {
	Status int         `json:"status"`
	Header http.Header `json:"header"`
	Body   []byte      `json:"body"`
	// Chunked says that the app did not say how long the body is.
	Chunked bool `json:"chunked,omitempty"`
}

// candidate is a response that one attempt got.
type candidate struct {
	digest [sha256.Size]byte
	// who is a hash of the account and the network.
	who string
}

// memories are the samples of each route, in the forms that apps give by Accept, and how long the app took.
type memories struct {
	mu     sync.Mutex
	routes []memory
}

type memory struct {
	samples map[string]*sample
	written map[string]time.Time
	// seen are the latest responses, of which one becomes a sample when another client or account gets the same.
	seen [candidates]candidate
	next int
	took [times]time.Duration
	n    int
}

func newMemories(routes int) *memories {
	m := &memories{routes: make([]memory, routes)}
	for i := range m.routes {
		m.routes[i] = memory{samples: map[string]*sample{}, written: map[string]time.Time{}}
	}
	return m
}

// form is the form of a response that the client gets, by its method and the type that it prefers; "" for one that is never repeated. A HEAD
// request would leave a sample without its body.
func form(r *http.Request) string {
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodGet:
	default:
		return ""
	}
	if httperr.PrefersHTML(r.Header.Get("Accept")) {
		return r.Method + "-html"
	}
	return r.Method + "-other"
}

// unrepeated are fields of a response that belong to one request. What a later stage sets is not in a sample anyway.
func unrepeated(name string) bool {
	switch name {
	case "Date", "Set-Cookie", "Content-Length", "Connection", "Keep-Alive", "Transfer-Encoding", "Trailer", "Upgrade", "Etag", "Last-Modified", "Age", "Retry-After":
		return true
	}
	return strings.HasPrefix(name, "Postern-") || strings.Contains(strings.ToLower(name), "request-id") || strings.HasPrefix(strings.ToLower(name), "x-ratelimit")
}

// recorder passes a response on, ends the attempt when its header is known, and remembers the response if it is to be repeated.
type recorder struct {
	response.Writer
	attempt *attempt
	ctx     context.Context
	form    string
	place   place
	status  int
	begun   bool
	ended   bool
	// before is the header as earlier stages left it.
	before http.Header
	sent   time.Time // to the app
	header http.Header
	body   bytes.Buffer
	// chunked says that the header has no length of the body.
	chunked, keeps bool
}

// BeforeHeader implements response.HeaderHook.
func (rec *recorder) BeforeHeader(status int) { rec.begin(status) }

func (rec *recorder) begin(status int) {
	rec.begun, rec.status = true, status
	a := rec.attempt
	result := a.resultOf(status, rec.Header())
	if result == failure {
		a.memory.timed(a.index, a.cfg.Now().Sub(rec.sent))
	}
	if rec.keeps = result == failure && rec.form != "" && a.repeatable(status); rec.keeps {
		rec.header, rec.chunked = http.Header{}, rec.Header().Get("Content-Length") == ""
		size := 0
		for name, values := range rec.Header() {
			if !unrepeated(name) && !slices.Equal(values, rec.before[name]) {
				rec.header[name] = append([]string(nil), values...)
				for _, v := range values {
					size += len(name) + len(v)
				}
			}
		}
		rec.keeps = size <= maxSampleHeader
	}
	if result == success && a.route.Kind == Login && a.cfg.KnownDevice.Failures > 0 && a.name != "" {
		a.guard.device.remember(rec.ctx, rec.Header(), a)
	}
	rec.end(result)
}

func (rec *recorder) end(r result) {
	if rec.ended {
		return
	}
	rec.ended = true
	rec.attempt.settle(rec.ctx, r)
}

// Hijack ends the attempt: a connection that the app takes over says nothing about a password.
func (rec *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := rec.Writer.Hijack()
	if err == nil {
		rec.begun = true
		rec.end(neutral)
	}
	return conn, rw, err
}

// Write passes the body on.
func (rec *recorder) Write(p []byte) (int, error) {
	n, err := rec.Writer.Write(p)
	if rec.keeps {
		if rec.body.Len()+n > maxSample {
			rec.keeps = false
			rec.body = bytes.Buffer{}
		} else {
			rec.body.Write(p[:n])
		}
	}
	return n, err
}

// remember keeps the response, after it is complete.
func (rec *recorder) remember() {
	if !rec.keeps {
		return
	}
	a := rec.attempt
	s := &sample{Status: rec.status, Header: rec.header, Body: rec.body.Bytes(), Chunked: rec.chunked}
	b, err := json.Marshal(s) // with the fields in the order of their names
	if err != nil || s.reveals(a.secrets) {
		return
	}
	form := rec.form
	if s.reveals(rec.place) {
		form = rec.place.form(form)
	}
	if a.confirmed(rec.ctx, form, b) && a.memory.keep(a, form, s) {
		// A replica that has seen no 401 must not replace that of another.
		_, _ = a.store.Put(rec.ctx, a.sampleKey(form), b, sampleLasts, a.route.Kind == Login && s.Status != http.StatusUnauthorized) // another replica can do without
	}
}

// confirmed reports whether another attempt got the same response, byte for byte, for another account or from another network. What the app
// says to one client only, with a token or with text of its request, is not for others. Replicas share their latest candidate.
func (a *attempt) confirmed(ctx context.Context, form string, text []byte) bool {
	c := candidate{digest: sha256.Sum256(append([]byte(form+"\x00"), text...)), who: a.space.Hash("candidate", a.name, network(a.info.ClientAddr))}
	if a.memory.confirmed(a.index, c) {
		return true
	}
	key := a.space.Key("candidate", a.route.Name, form)
	if stored, err := a.store.Get(ctx, key); err == nil {
		if who, same := bytes.CutPrefix(stored, c.digest[:]); same {
			return string(who) != c.who
		}
	}
	_, _ = a.store.Put(ctx, key, append(c.digest[:], c.who...), candidateLasts, false) // a later attempt can do it
	return false
}

// repeatable reports whether a response with this status can become a sample: for a request for a new password only what the app says to a
// correct one, because every client can cause an error.
func (a *attempt) repeatable(status int) bool {
	return a.route.Kind == Login || status < http.StatusBadRequest
}

func (a *attempt) sampleKey(form string) string { return a.space.Key("sample", a.route.Name, form) }

// keep remembers a confirmed response as the sample. A 401 is not replaced by another status, which a malformed request may cause. It
// reports whether the sample is to be written to the store.
func (m *memories) keep(a *attempt, form string, s *sample) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, now := &m.routes[a.index], a.cfg.Now()
	if ofPlace := strings.Count(form, "-") > 1; ofPlace && r.samples[form] == nil && len(r.samples) >= maxForms {
		return false
	}
	if old := r.samples[form]; old != nil && old.Status == http.StatusUnauthorized && s.Status != old.Status {
		return false
	}
	r.samples[form] = s
	if last, ok := r.written[form]; ok && now.Sub(last) < sampleEvery {
		return false
	}
	r.written[form] = now
	return true
}

// confirmed reports whether another attempt at this replica got the same response, and remembers a new one.
func (m *memories) confirmed(i int, c candidate) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &m.routes[i]
	for _, other := range r.seen {
		if other.digest == c.digest {
			return other.who != c.who
		}
	}
	r.seen[r.next%candidates] = c
	r.next++
	return false
}

// timed remembers how long the app took.
func (m *memories) timed(i int, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &m.routes[i]
	r.took[r.n%times] = took
	r.n++
}

// recall returns the sample of a route, and one of the times that the app took; 0 if none is known.
func (m *memories) recall(i int, form string, jitter func(int) int) (*sample, time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &m.routes[i]
	if r.n == 0 {
		return r.samples[form], 0
	}
	return r.samples[form], r.took[jitter(min(r.n, times))]
}

// respond writes the response to a refused attempt, after the time that an attempt with as many failures takes that is allowed.
func (a *attempt) respond(w http.ResponseWriter, r *http.Request, b Begun) error {
	if a.cfg.TooManyRequests {
		return locked(b.Wait)
	}
	f, refused := form(r), a.cfg.Now()
	s, took := a.recall(r, f)
	if rest := a.delay(b.Failures) + min(took-a.cfg.Now().Sub(refused), longestWait); rest > 0 {
		a.wait(r.Context(), rest)
	}
	if s == nil {
		return a.substitute()
	}
	s.write(w, r.Method)
	return nil
}

// recall returns the sample for a request: that of its host and origin, or one that has neither.
func (a *attempt) recall(r *http.Request, form string) (*sample, time.Duration) {
	s, took := a.memory.recall(a.index, form, a.cfg.Jitter)
	if form == "" {
		return nil, took
	}
	at := placeOf(r).form(form)
	if own, _ := a.memory.recall(a.index, at, a.cfg.Jitter); own != nil {
		return own, took
	}
	if s == nil {
		s = a.stored(r.Context(), at)
	}
	if s == nil {
		s = a.stored(r.Context(), form)
	}
	return s, took
}

// write repeats the response as the app sent it: in chunks, or with the length of the body.
func (s *sample) write(w http.ResponseWriter, method string) {
	h := w.Header()
	for name, values := range s.Header {
		h[name] = append([]string(nil), values...)
	}
	if _, ok := s.Header["Content-Type"]; !ok {
		h["Content-Type"] = nil // otherwise net/http guesses one
	}
	if !s.Chunked {
		h.Set("Content-Length", strconv.Itoa(len(s.Body)))
	}
	w.WriteHeader(s.Status)
	if s.Chunked {
		_ = http.NewResponseController(w).Flush() // on an error the client has disconnected
	}
	if method != http.MethodHead {
		_, _ = w.Write(s.Body) // the same
	}
}

// stored returns the sample of another replica, or nil.
func (a *attempt) stored(ctx context.Context, form string) *sample {
	b, err := a.store.Get(ctx, a.sampleKey(form))
	if err != nil || b == nil {
		return nil
	}
	s, err := decodeSample(b)
	if err != nil {
		a.cfg.Logger.WarnContext(ctx, "a stored response is not used", "route", a.route.Name, "error", err)
		return nil
	}
	return s
}

var errSample = errors.New("reading stored response: it is malformed")

// decodeSample checks what other processes may have written.
func decodeSample(b []byte) (*sample, error) {
	var s sample
	if len(b) > 2*(maxSample+maxSampleHeader) || json.Unmarshal(b, &s) != nil || s.Status < 200 || s.Status > 599 || len(s.Body) > maxSample {
		return nil, errSample
	}
	for name := range s.Header {
		if http.CanonicalHeaderKey(name) != name || unrepeated(name) {
			return nil, errSample
		}
	}
	return &s, nil
}

// substitute is the response while the app's own is not known. It says the same about every account.
func (a *attempt) substitute() error {
	if a.route.Kind == PasswordReset {
		return &httperr.Error{Status: http.StatusTooManyRequests, Code: "login-refused", Detail: "There were too many attempts. Try again later."}
	}
	return &httperr.Error{Status: http.StatusUnauthorized, Code: "login-failed", Detail: "The login failed."}
}
