package logintest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/login/token"
	"github.com/posterndev/postern/sidecar/login/transport"
	"github.com/posterndev/postern/sidecar/stages/authn"
)

// App returns an app that sets reserved fields in the same way as behind the upstream stage.
func App(app http.HandlerFunc) stage.Handler {
	return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
		app(&AppWriter{ResponseWriter: w, Info: request.From(r)}, r)
		return nil
	})
}

// Chain returns the stages of a login in front of upstream: the cookie guard, authentication, and stages.
func (w *World) Chain(t testing.TB, upstream stage.Handler, stages ...stage.Stage) stage.Handler {
	t.Helper()
	from := []authn.Location{{Header: "Authorization", Prefix: "Bearer "}}
	if w.TokenTransport.Delivery() == transport.Cookie {
		from = []authn.Location{{Cookie: transport.AccessCookie}}
	}
	authentication, err := authn.New(authn.Config{Now: w.Now, Providers: []authn.Provider{
		{Name: "postern", Issuer: Issuer, Audiences: []string{"orders"}, Algorithms: []string{"ES256"}, TokenTypes: []string{"at+jwt"}, Keys: w.Ring, From: from},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return stage.Chain(upstream, append([]stage.Stage{w.TokenTransport.Guard(), authentication}, stages...)...)
}

// AppWriter handles reserved fields in the same way as the upstream stage.
type AppWriter struct {
	http.ResponseWriter
	Info *request.Info
}

// WriteHeader moves the reserved fields from the header to the request's Info.
func (a *AppWriter) WriteHeader(status int) {
	h := a.Header()
	for name, values := range h {
		if strings.HasPrefix(name, "Postern-") {
			delete(h, name)
			if a.Info.AppFields == nil {
				a.Info.AppFields = http.Header{}
			}
			a.Info.AppFields[name] = values
		}
	}
	a.ResponseWriter.WriteHeader(status)
}

// Response is the response that a client received.
type Response struct {
	*httptest.ResponseRecorder
	Info *request.Info
	// JSON is the body; nil if it is not a JSON object.
	JSON map[string]any
	// Err is the refusal; nil if there was none.
	Err *httperr.Error
}

// Send sends r through h, with an Info that change has modified. A refusal is in Err and in the status.
func Send(t testing.TB, h stage.Handler, r *http.Request, change func(*request.Info)) Response {
	t.Helper()
	info := &request.Info{Path: r.URL.Path, ClientAddr: netip.MustParseAddr("192.0.2.7")}
	if change != nil {
		change(info)
	}
	if r.Header.Get("User-Agent") == "" {
		r.Header.Set("User-Agent", userAgent)
	}
	a := Response{ResponseRecorder: httptest.NewRecorder(), Info: info}
	if err := h.ServeHTTP(a.ResponseRecorder, request.With(r, info)); err != nil {
		a.Err = httperr.From(err)
		httperr.Write(a.ResponseRecorder, r, err)
	}
	if a.Body.Len() > 0 {
		_ = json.Unmarshal(a.Body.Bytes(), &a.JSON)
	}
	return a
}

// Text returns a string member of the body; empty if there is none.
func (a Response) Text(name string) string {
	s, _ := a.JSON[name].(string)
	return s
}

// Cookies returns the cookies that the response sets, by name.
func (a Response) Cookies() map[string]*http.Cookie {
	jar := map[string]*http.Cookie{}
	for _, c := range a.Result().Cookies() {
		jar[c.Name] = c
	}
	return jar
}

// Post returns a request with a form as its body.
func Post(path, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, Issuer+path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

// With adds a header field to r.
func With(r *http.Request, name, value string) *http.Request {
	r.Header.Add(name, value)
	return r
}

// As adds the access token of t to r.
func As(t token.Tokens, r *http.Request) *http.Request {
	return With(r, "Authorization", "Bearer "+t.Token)
}

// Says returns an app that names a subject. more are pairs of further header names and values.
func Says(subject string, more ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Postern-Subject", subject)
		for i := 0; i < len(more); i += 2 {
			w.Header().Add(more[i], more[i+1])
		}
		w.WriteHeader(http.StatusOK)
	}
}
