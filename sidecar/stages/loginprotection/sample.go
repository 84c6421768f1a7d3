package loginprotection

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
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
	// longestWait bounds the time that a refusal waits to take as long as a response of the app.
	longestWait = 3 * time.Second
)

// sample is the app's response to a wrong password, or to a request for a new one.
type sample struct {
	Status int         `json:"status"`
	Header http.Header `json:"header"`
	Body   []byte      `json:"body"`
}

// memories are the samples of each route, in the forms that apps give by Accept, and how long the app took.
type memories struct {
	mu     sync.Mutex
	routes []memory
}

type memory struct {
	samples map[string]*sample
	written map[string]time.Time
	took    [times]time.Duration
	n       int
}

func newMemories(routes int) *memories {
	m := &memories{routes: make([]memory, routes)}
	for i := range m.routes {
		m.routes[i] = memory{samples: map[string]*sample{}, written: map[string]time.Time{}}
	}
	return m
}

// form is the form of a response that the client prefers.
func form(r *http.Request) string {
	if httperr.PrefersHTML(r.Header.Get("Accept")) {
		return "html"
	}
	return "other"
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
	status  int
	begun   bool
	ended   bool
	header  http.Header
	body    bytes.Buffer
	keeps   bool
}

// BeforeHeader implements response.HeaderHook.
func (rec *recorder) BeforeHeader(status int) { rec.begin(status) }

func (rec *recorder) begin(status int) {
	rec.begun, rec.status = true, status
	a := rec.attempt
	result := a.resultOf(status, rec.Header())
	if rec.keeps = result == failure; rec.keeps {
		rec.header = http.Header{}
		size := 0
		for name, values := range rec.Header() {
			if !unrepeated(name) {
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
	s := &sample{Status: rec.status, Header: rec.header, Body: rec.body.Bytes()}
	if a.memory.keep(a.index, rec.form, s, a.cfg.Now(), a.cfg.Now().Sub(a.began)) {
		if b, err := json.Marshal(s); err == nil {
			_, _ = a.store.Put(rec.ctx, a.sampleKey(rec.form), b, sampleLasts, false) // another replica can do without
		}
	}
}

func (a *attempt) sampleKey(form string) string { return a.space.Key("sample", a.route.Name, form) }

// keep remembers a sample and reports whether it is to be written to the store.
func (m *memories) keep(i int, form string, s *sample, now time.Time, took time.Duration) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &m.routes[i]
	r.samples[form] = s
	r.took[r.n%times] = took
	r.n++
	if last, ok := r.written[form]; ok && now.Sub(last) < sampleEvery {
		return false
	}
	r.written[form] = now
	return true
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

// respond writes the response to a refused attempt.
func (a *attempt) respond(w http.ResponseWriter, r *http.Request, wait time.Duration) error {
	if a.cfg.TooManyRequests {
		return locked(wait)
	}
	f := form(r)
	s, took := a.memory.recall(a.index, f, a.cfg.Jitter)
	if s == nil {
		s = a.stored(r.Context(), f)
	}
	if spent := a.cfg.Now().Sub(a.began); took > spent {
		a.wait(r.Context(), min(took-spent, longestWait))
	}
	if s == nil {
		return a.substitute()
	}
	h := w.Header()
	for name, values := range s.Header {
		h[name] = append([]string(nil), values...)
	}
	h.Set("Content-Length", strconv.Itoa(len(s.Body)))
	w.WriteHeader(s.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(s.Body) // on an error the client has disconnected
	}
	return nil
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
