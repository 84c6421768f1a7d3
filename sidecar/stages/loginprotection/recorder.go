package loginprotection

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/response"
)

// sampleLasts is how long the sample of a route is kept in the store, and candidateLasts how long a response that may become one.
const (
	sampleLasts    = 7 * 24 * time.Hour
	candidateLasts = time.Hour
)

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
		a.memory.timed(a.index, answer{status, a.looksUp()}, a.cfg.Now().Sub(rec.sent))
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
	status := rec.status
	if !rec.begun {
		status = 0
	}
	rec.attempt.ended(r, status)
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
	form, ofDomain := rec.form, rec.place.ofDomain(a.name)
	switch {
	case s.reveals(ofDomain[len(rec.place):]):
		form = ofDomain.form(form)
	case s.reveals(rec.place):
		form = rec.place.form(form)
	}
	if a.confirmed(rec.ctx, form, b) && a.memory.keep(a, form, s) {
		// A replica that has seen no 401 must not replace that of another.
		_, _ = a.store.Put(rec.ctx, a.sampleKey(form), b, sampleLasts, a.route.Kind == Login && s.Status != http.StatusUnauthorized) // another replica can do without
	}
}

// repeatable reports whether a response with this status can become a sample: for a request for a new password only what the app says to a
// correct one, because every client can cause an error.
func (a *attempt) repeatable(status int) bool {
	return a.route.Kind == Login || status < http.StatusBadRequest
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

func (a *attempt) sampleKey(form string) string { return a.space.Key("sample", a.route.Name, form) }
