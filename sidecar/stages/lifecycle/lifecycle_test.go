package lifecycle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// sink records events.
type sink struct{ events []event.Event }

func (*sink) Kinds() event.Kinds     { return event.Of(event.Lifecycle) }
func (s *sink) Record(e event.Event) { s.events = append(s.events, e) }

// told is what an event says, in a line.
func (s *sink) told() string {
	var lines []string
	for _, e := range s.events {
		line := fmt.Sprintf("%s %s/%s %s", e.Resource.Action, e.Resource.Kind, e.Resource.ID, e.Outcome)
		if e.Reason != "" {
			line += " " + e.Reason
		}
		if e.Changes != nil {
			line += " " + string(encode(e.Changes))
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "; ")
}

func segment(n int) *int { return &n }

// users are the rules of the documentation.
func users() []Rule {
	return []Rule{
		{Resource: "user", Action: event.Create, Match: []route.Match{{Methods: []string{"POST"}, Paths: []string{"/users"}}}, ID: ID{ResponseJSON: "id"}, Changes: []string{"name", "email", "role.name"}, Redact: []string{"email"}},
		{Resource: "user", Action: event.Create, Match: []route.Match{{Methods: []string{"PUT"}, Paths: []string{"/users/*"}}}, ID: ID{Segment: segment(1)}, Statuses: []int{201}},
		{Resource: "user", Action: event.Update, Match: []route.Match{{Methods: []string{"PUT", "PATCH"}, Paths: []string{"/users/*"}}}, ID: ID{Segment: segment(1)}, Changes: []string{"name"}},
		{Resource: "order", Action: event.Create, Match: []route.Match{{Paths: []string{"/orders"}}}, ID: ID{ResponseHeader: "Location"}},
		{Resource: "order", Action: event.Delete, Match: []route.Match{{Methods: []string{"GET"}, Paths: []string{"/orders/*/delete"}}, {Paths: []string{"/orders/delete"}}}, ID: ID{RequestJSON: "order.id"}},
	}
}

// exchange sends one request through the stage to an app.
func exchange(t *testing.T, in *http.Request, app http.HandlerFunc) (*sink, *httptest.ResponseRecorder, error) {
	t.Helper()
	s, err := New(Config{Rules: users()})
	if err != nil {
		t.Fatal(err)
	}
	out, w := &sink{}, httptest.NewRecorder()
	info := &request.Info{Path: in.URL.Path, Events: event.NewStream("shop/orders", out), Actor: event.Actor{Subject: "ada"}}
	err = s(stage.Func(func(w http.ResponseWriter, r *http.Request) error {
		app(w, r)
		return nil
	})).ServeHTTP(w, request.With(in, info))
	return out, w, err
}

// responds returns an app that reads the request and responds with JSON.
func responds(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Location", "/orders/9")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestEvents(t *testing.T) {
	const json = "application/json"
	long := `{"name":"` + strings.Repeat("x", MaxBody) + `"}`
	full := `{"name":"` + strings.Repeat("x", event.MaxChanges) + `","role":{"name":"admin"}}`
	tests := map[string]struct {
		method, path, kind, body string
		status                   int
		response, want           string
	}{
		"created":                      {"POST", "/users", json, `{"name":"Ada","email":"a@b","age":3}`, 201, `{"name":"Ada","id":"u-7"}`, `CREATE user/u-7 success {"email":{"redacted":true},"name":{"after":"Ada"}}`},
		"a number as id":               {"POST", "/users", json, `{}`, 201, `{"id":70000000000000000007}`, `CREATE user/70000000000000000007 success`},
		"a nested field":               {"POST", "/users", json, `{"role":{"name":null},"name":{"a":[1.50,"<"]}}`, 200, `{"id":1}`, `CREATE user/1 success {"name":{"after":{"a":[1.50,"<"]}},"role.name":{"after":null}}`},
		"no id":                        {"POST", "/users", json, `{"name":1}`, 200, `{"users":[{"id":1}]}`, `CREATE user/ success {"name":{"after":1}}`},
		"no body in the response":      {"POST", "/users", json, `{"name":1}`, 204, ``, `CREATE user/ success {"name":{"after":1}}`},
		"refused by the app":           {"POST", "/users", json, `{"name":1}`, 422, `{"id":1}`, ``},
		"redirected":                   {"POST", "/users", json, `{"name":1}`, 303, `{"id":1}`, ``},
		"a part of the response":       {"POST", "/users", json, `{"name":1}`, 206, `{"id":1}`, `CREATE user/ success {"name":{"after":1}}`},
		"another path":                 {"POST", "/groups", json, `{"name":1}`, 200, `{"id":1}`, ``},
		"updated":                      {"PATCH", "/users/7", json, `{"name":"B","email":"x"}`, 200, ``, `UPDATE user/7 success {"name":{"after":"B"}}`},
		"nothing recorded was changed": {"PATCH", "/users/7", json, `{"email":"x"}`, 200, ``, `UPDATE user/7 success`},
		"created by its status":        {"PUT", "/users/8", json, `{"name":"B"}`, 201, ``, `CREATE user/8 success`},
		"updated by its status":        {"PUT", "/users/8", json, `{"name":"B"}`, 200, ``, `UPDATE user/8 success {"name":{"after":"B"}}`},
		"an id in a header":            {"POST", "/orders", "", "", 201, ``, `CREATE order//orders/9 success`},
		"an id in the request":         {"POST", "/orders/delete", json, `{"order":{"id":12}}`, 200, ``, `DELETE order/12 success`},
		"two ids in the request":       {"POST", "/orders/delete", json, `{"order":{"id":12,"ID":13}}`, 200, ``, `DELETE order/ success`},
		"GET without being named":      {"GET", "/orders", "", "", 200, ``, ``},
		"GET of a match without names": {"GET", "/orders/delete", "", "", 200, ``, ``},
		"GET that is named":            {"GET", "/orders/1/delete", "", "", 200, ``, `DELETE order/ success`},
		"HEAD of a named GET":          {"HEAD", "/orders/1/delete", "", "", 200, ``, `DELETE order/ success`},
		"HEAD without being named":     {"HEAD", "/orders", "", "", 200, ``, ``},
		"OPTIONS":                      {"OPTIONS", "/orders", "", "", 200, ``, ``},
		"a form":                       {"PATCH", "/users/7", "application/x-www-form-urlencoded", `name=B`, 200, ``, `UPDATE user/7 success changes-unknown`},
		"not JSON":                     {"PATCH", "/users/7", json, `{"name":`, 200, ``, `UPDATE user/7 success changes-unknown`},
		"a member twice":               {"PATCH", "/users/7", json, `{"name":"A","name":"B"}`, 200, ``, `UPDATE user/7 success changes-unknown`},
		"a member in two cases":        {"PATCH", "/users/7", json, `{"name":"A","Name":"B"}`, 200, ``, `UPDATE user/7 success {"name":{}}`},
		"a member in another case":     {"PATCH", "/users/7", json, `{"NAME":"B"}`, 200, ``, `UPDATE user/7 success {"name":{}}`},
		"too long a body":              {"PATCH", "/users/7", json, long, 200, ``, `UPDATE user/7 success changes-unknown`},
		"too long a value":             {"POST", "/users", json, full, 201, `{"id":1}`, `CREATE user/1 success {"name":{},"role.name":{"after":"admin"}}`},
		"gRPC":                         {"PATCH", "/users/7", "application/grpc+json", `{"name":"B"}`, 200, ``, `UPDATE user/7 success changes-unknown`},
		"no body":                      {"PATCH", "/users/7", "", ``, 200, ``, `UPDATE user/7 success`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, chunked := range []bool{false, true} {
				in := httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.body))
				if tt.kind != "" {
					in.Header.Set("Content-Type", tt.kind)
				}
				if chunked && tt.body != "" {
					in.ContentLength = -1
				}
				got, w, err := exchange(t, in, responds(tt.status, tt.response))
				if err != nil || got.told() != tt.want {
					t.Errorf("chunked %t: %q, %v; want %q", chunked, got.told(), err, tt.want)
				}
				if w.Code != tt.status || w.Body.String() != tt.response {
					t.Errorf("the client got %d %q", w.Code, w.Body)
				}
				for _, e := range got.events {
					if e.Subject != "ada" || e.PerformedBy != "" {
						t.Errorf("by %q and %q", e.Subject, e.PerformedBy)
					}
				}
			}
		})
	}
}

// TestTheAppGetsEveryByte, whatever the body is, and reads it itself: nothing is read ahead.
func TestTheAppGetsEveryByte(t *testing.T) {
	for _, size := range []int{1, MaxBody - 10, MaxBody, MaxBody + 1, 3 * MaxBody} {
		sent := `{"name":"` + strings.Repeat("x", size) + `"}`
		in := httptest.NewRequest("PATCH", "/users/7", io.MultiReader(strings.NewReader(sent)))
		in.Header = http.Header{"Content-Type": {"application/json"}, "Expect": {"100-continue"}}
		in.ContentLength = -1
		body := &counted{Reader: in.Body}
		in.Body = body
		_, _, err := exchange(t, in, func(_ http.ResponseWriter, r *http.Request) {
			if body.reads != 0 || r.Header.Get("Expect") != "100-continue" {
				t.Errorf("%d reads before the app's, header %v", body.reads, r.Header)
			}
			if got, err := io.ReadAll(r.Body); err != nil || string(got) != sent {
				t.Errorf("the app got %d bytes of %d, %v", len(got), len(sent), err)
			}
		})
		if err != nil {
			t.Error(err)
		}
	}
}

type counted struct {
	io.Reader
	reads int
}

func (c *counted) Read(p []byte) (int, error) {
	c.reads++
	return c.Reader.Read(p)
}

func (*counted) Close() error { return nil }

// TestABodyThatBreaksOff reaches the app as it is, and the event has what the app can have read.
func TestABodyThatBreaksOff(t *testing.T) {
	broken := errors.New("broken")
	for body, want := range map[string]string{
		`{"name":"B"}`: `UPDATE user/7 success {"name":{"after":"B"}}`,
		`{"name":"B"`:  `UPDATE user/7 success changes-unknown`,
		``:             `UPDATE user/7 success changes-unknown`,
	} {
		in := httptest.NewRequest("PATCH", "/users/7", io.MultiReader(strings.NewReader(body), failing{broken}))
		in.Header.Set("Content-Type", "application/json")
		in.ContentLength = -1
		got, _, err := exchange(t, in, func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.ReadAll(r.Body); !errors.Is(err, broken) {
				t.Errorf("the app got %v", err)
			}
			w.WriteHeader(http.StatusOK)
		})
		if err != nil || got.told() != want {
			t.Errorf("%q: %q, %v; want %q", body, got.told(), err, want)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestTheIDOfAStream is known as soon as it has passed, and no event waits for the end of a response that need not be read.
func TestTheIDOfAStream(t *testing.T) {
	for path, write := range map[string]string{"/users": `{"id":"u-7",`, "/orders": ``} {
		s, err := New(Config{Rules: users()})
		if err != nil {
			t.Fatal(err)
		}
		out, w := &sink{}, httptest.NewRecorder()
		info := &request.Info{Path: path, Events: event.NewStream("shop/orders", out)}
		err = s(stage.Func(func(w http.ResponseWriter, _ *http.Request) error {
			_, _ = io.WriteString(w, write)
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			if len(out.events) != 1 {
				t.Errorf("%s: %q while the response goes on", path, out.told())
			}
			_, _ = io.WriteString(w, `"id":"other"}`)
			return nil
		})).ServeHTTP(w, request.With(httptest.NewRequest("POST", path, nil), info))
		if err != nil || len(out.events) != 1 || !w.Flushed {
			t.Errorf("%s: %q, %v", path, out.told(), err)
		}
	}
}

// TestAnEarlyResponse: the body of a request may arrive after the header of the response.
func TestAnEarlyResponse(t *testing.T) {
	in := httptest.NewRequest("PATCH", "/users/7", strings.NewReader(`{"name":"B"}`))
	in.Header.Set("Content-Type", "application/json")
	got, _, err := exchange(t, in, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_, _ = io.Copy(w, r.Body)
	})
	if want := `UPDATE user/7 success {"name":{"after":"B"}}`; err != nil || got.told() != want {
		t.Errorf("%q, %v; want %q", got.told(), err, want)
	}
}

func TestEncodedResponses(t *testing.T) {
	const created = `{"padding":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx","id":"u-7"}`
	encoders := map[string]func(io.Writer) io.WriteCloser{
		"gzip": func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"br":   func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) },
		"zstd": func(w io.Writer) io.WriteCloser {
			z, err := zstd.NewWriter(w)
			if err != nil {
				t.Fatal(err)
			}
			return z
		},
		"identity": func(w io.Writer) io.WriteCloser { return nopCloser{w} },
		"unknown":  func(w io.Writer) io.WriteCloser { return nopCloser{w} },
	}
	for coding, encoder := range encoders {
		for name, cut := range map[string]bool{"whole": false, "cut short": true} {
			var body bytes.Buffer
			z := encoder(&body)
			_, _ = io.WriteString(z, created)
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			sent := body.Bytes()
			if cut {
				sent = sent[:3]
			}
			got, w, err := exchange(t, httptest.NewRequest("POST", "/users", nil), func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Encoding", coding)
				w.WriteHeader(http.StatusCreated)
				_, _ = w.Write(sent)
			})
			want := "CREATE user/u-7 success"
			if coding == "unknown" || cut {
				want = "CREATE user/ success"
			}
			if err != nil || got.told() != want || !bytes.Equal(w.Body.Bytes(), sent) {
				t.Errorf("%s, %s: %q, %v; want %q, and the body unchanged", coding, name, got.told(), err, want)
			}
		}
	}
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// TestABomb: an encoded response is decoded up to a bound.
func TestABomb(t *testing.T) {
	var body bytes.Buffer
	z := gzip.NewWriter(&body)
	_, _ = io.WriteString(z, `{"padding":"`+strings.Repeat("x", 2*maxDecoded)+`","id":"u-7"}`)
	if err := z.Close(); err != nil || body.Len() > maxEncoded {
		t.Fatal(body.Len(), err)
	}
	got, _, err := exchange(t, httptest.NewRequest("POST", "/users", nil), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(body.Bytes())
	})
	if want := "CREATE user/ success"; err != nil || got.told() != want {
		t.Errorf("%q, %v; want %q", got.told(), err, want)
	}
}

// TestHowAnExchangeEnds: only what the app responded has an event.
func TestHowAnExchangeEnds(t *testing.T) {
	refusal := &httperr.Error{Status: http.StatusBadGateway, Code: "app-unreachable"}
	tests := map[string]struct {
		app  func(http.ResponseWriter) error
		want string
	}{
		"nothing written":     {func(http.ResponseWriter) error { return nil }, "CREATE user/ success"},
		"an error of the app": {func(http.ResponseWriter) error { return refusal }, ""},
		"an early hint":       {func(w http.ResponseWriter) error { w.WriteHeader(http.StatusEarlyHints); return refusal }, ""},
		"an upgrade":          {func(w http.ResponseWriter) error { w.WriteHeader(http.StatusSwitchingProtocols); return nil }, ""},
		"broken off before":   {func(http.ResponseWriter) error { panic(http.ErrAbortHandler) }, ""},
		"broken off after":    {func(w http.ResponseWriter) error { w.WriteHeader(201); panic(http.ErrAbortHandler) }, "CREATE user/ success"},
		"broken off in JSON":  {func(w http.ResponseWriter) error { _, _ = io.WriteString(w, `{"id":"u-`); panic(http.ErrAbortHandler) }, "CREATE user/ success"},
		"broken off after JSON": {func(w http.ResponseWriter) error {
			_, _ = io.WriteString(w, `{"id":"u-7"`)
			panic(http.ErrAbortHandler)
		}, "CREATE user/u-7 success"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := New(Config{Rules: users()})
			if err != nil {
				t.Fatal(err)
			}
			for _, shadow := range []bool{false, true} {
				out := &sink{}
				info := &request.Info{Path: "/users", Events: event.NewStream("shop/orders", out), Shadow: shadow}
				func() {
					defer func() { _ = recover() }()
					_ = s(stage.Func(func(w http.ResponseWriter, _ *http.Request) error { return tt.app(w) })).
						ServeHTTP(httptest.NewRecorder(), request.With(httptest.NewRequest("POST", "/users", nil), info))
				}()
				if out.told() != tt.want {
					t.Errorf("shadow %t: %q; want %q", shadow, out.told(), tt.want)
				}
			}
		})
	}
}

// TestNobodyListens: without a sink the request is not touched.
func TestNobodyListens(t *testing.T) {
	s, err := New(Config{Rules: users()})
	if err != nil {
		t.Fatal(err)
	}
	in := httptest.NewRequest("PATCH", "/users/7", strings.NewReader("{}"))
	in.Header.Set("Content-Type", "application/json")
	body := in.Body
	err = s(stage.Func(func(w http.ResponseWriter, r *http.Request) error {
		if _, wrapped := w.(*observer); wrapped || r.Body != body {
			t.Error("the exchange is observed")
		}
		return nil
	})).ServeHTTP(httptest.NewRecorder(), request.With(in, &request.Info{Path: "/users/7"}))
	if err != nil {
		t.Error(err)
	}
}

func TestConfig(t *testing.T) {
	match := []route.Match{{Paths: []string{"/a"}}}
	if s, err := New(Config{}); s != nil || err != nil {
		t.Error("no rules need no stage")
	}
	for name, r := range map[string]Rule{
		"no match":          {Resource: "a", Action: event.Create},
		"no resource":       {Action: event.Create, Match: match},
		"no action":         {Resource: "a", Match: match},
		"a bad path":        {Resource: "a", Action: event.Create, Match: []route.Match{{Paths: []string{"a"}}}},
		"a bad id":          {Resource: "a", Action: event.Create, Match: match, ID: ID{ResponseJSON: "a[0]"}},
		"a bad field":       {Resource: "a", Action: event.Create, Match: match, Changes: []string{"a..b"}},
		"a stray redaction": {Resource: "a", Action: event.Create, Match: match, Redact: []string{"a"}},
		"too many fields":   {Resource: "a", Action: event.Create, Match: match, Changes: make([]string, maxFields+1)},
	} {
		if _, err := New(Config{Rules: []Rule{r}}); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// FuzzChanges: whatever a client sends, the app gets the same bytes, and the changes are bounded.
func FuzzChanges(f *testing.F) {
	f.Add([]byte(`{"name":"a","email":null,"role":{"name":[1]}}`), []byte(`{"id":1}`))
	f.Add([]byte(`{"name":`), []byte(`{"id":"\u00e9"`))
	f.Fuzz(func(t *testing.T, sent, response []byte) {
		in := httptest.NewRequest("POST", "/users", bytes.NewReader(sent))
		in.Header.Set("Content-Type", "application/json")
		got, w, err := exchange(t, in, func(w http.ResponseWriter, r *http.Request) {
			if read, err := io.ReadAll(r.Body); err != nil || !bytes.Equal(read, sent) {
				t.Errorf("the app got %q, %v", read, err)
			}
			_, _ = w.Write(response)
		})
		if err != nil || !bytes.Equal(w.Body.Bytes(), response) || len(got.events) != 1 {
			t.Fatalf("%v, %q, %q", err, w.Body, got.told())
		}
		if e := got.events[0]; e.Changes != nil {
			if b, err := json.Marshal(e.Changes); err != nil || len(b) > event.MaxChanges+1024 {
				t.Fatalf("%d bytes, %v", len(b), err)
			}
		}
	})
}

// TestMethodOverrides: a client that gives the method in one of the ways of frameworks is recorded, and so is what it asks for by the method itself. Nobody
// knows which of both the app does.
func TestMethodOverrides(t *testing.T) {
	const deleted = "DELETE invoice/7 failed " + MethodOverride
	s, err := New(Config{Rules: []Rule{
		{Resource: "invoice", Action: event.Delete, Match: []route.Match{{Methods: []string{"DELETE"}, Paths: []string{"/invoices/*"}}}, ID: ID{Segment: segment(1)}},
		{Resource: "invoice", Action: event.Update, Match: []route.Match{{Methods: []string{"PUT"}, Paths: []string{"/invoices/*"}}}, ID: ID{Segment: segment(1)}, Changes: []string{"paid"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		method, query, field, value, body, want string
	}{
		"none":                      {"POST", "", "", "", "", ""},
		"a field":                   {"POST", "", "X-HTTP-Method-Override", "DELETE", "", deleted},
		"in small letters":          {"POST", "", "X-Http-Method", " delete", "", deleted},
		"a parameter":               {"POST", "?x=1&%5Fmethod=delete", "", "", "", deleted},
		"in GET":                    {"GET", "", "X-Method-Override", "DELETE", "", deleted},
		"twice":                     {"POST", "?_method=DELETE", "X-Method-Override", "DELETE", "", deleted},
		"the method itself":         {"DELETE", "", "X-Method-Override", "DELETE", "", "DELETE invoice/7 success"},
		"both can be":               {"PUT", "", "X-Method-Override", "DELETE", `{"paid":true}`, deleted + `; UPDATE invoice/7 success {"paid":{"after":true}}`},
		"a form":                    {"POST", "", "", "", "x=1&_method=delete", deleted},
		"a form without":            {"POST", "", "", "", "x=1&method=delete", ""},
		"a form of something else":  {"POST", "", "", "", "_method=patch", ""},
		"a form and a field":        {"POST", "", "X-Method-Override", "DELETE", "_method=DELETE", deleted},
		"a long form":               {"POST", "?_method=PUT", "", "", strings.Repeat("x", MaxBody) + "&_method=DELETE", "UPDATE invoice/7 failed " + MethodOverride + "; " + deleted},
		"after a semicolon":         {"POST", "?x=1;_method=DELETE", "", "", "", deleted}, // Rack 2 separates by it
		"before a semicolon":        {"POST", "?_method=DELETE;x=1", "", "", "", deleted},
		"the value has one":         {"POST", "?_method=DELETE;", "", "", "", deleted},
		"a form with semicolons":    {"POST", "", "", "", "x=1;_method=delete", deleted},
		"a dot":                     {"POST", "?.method=DELETE", "", "", "", deleted}, // PHP reads _ for . and [
		"a bracket":                 {"POST", "?%5Bmethod=DELETE", "", "", "", deleted},
		"blanks before the name":    {"POST", "?%20+_method=DELETE", "", "", "", deleted},
		"a list":                    {"POST", "?_method[]=DELETE", "", "", "", deleted},
		"a form with a dot":         {"POST", "", "", "", "x=1&.method=delete", deleted},
		"beside what is malformed":  {"POST", "?%zz&_method=DELETE%00", "", "", "", deleted},
		"a field with underscores":  {"POST", "", "X_HTTP_Method_Override", "DELETE", "", deleted},
		"what changes nothing":      {"POST", "", "X-Method-Override", "GET", "", ""},
		"a method without any rule": {"POST", "", "X-Method-Override", "PATCH", "", ""},
	} {
		r := httptest.NewRequest(tt.method, "/invoices/7"+tt.query, strings.NewReader(tt.body))
		r.Header.Set("Content-Type", "application/json")
		if tt.body != "" && tt.body[0] != '{' {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		}
		if tt.field != "" {
			r.Header.Set(tt.field, tt.value)
		}
		out := &sink{}
		info := &request.Info{Path: "/invoices/7", Events: event.NewStream("shop/orders", out)}
		err := s(stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			responds(200, "{}")(w, r)
			return nil
		})).ServeHTTP(httptest.NewRecorder(), request.With(r, info))
		if got := out.told(); err != nil || got != tt.want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, tt.want)
		}
	}
}
