package accesslog

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/response"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// reused returns r as a server has it that reuses the parts of its requests.
func reused(r *http.Request) *http.Request {
	return r.WithContext(&request.Slots{Context: context.Background()})
}

// crowded is reused, but without room for values.
func crowded(r *http.Request) *http.Request {
	s := &request.Slots{Context: r.Context()}
	for i := 0; s.SetValue(i, i); i++ {
		continue
	}
	return r.WithContext(s)
}

// TestRecordsAreReused: the record of a request is that of a later one only if nothing can use it any more.
func TestRecordsAreReused(t *testing.T) {
	ok := func(http.ResponseWriter, *http.Request) error { return nil }
	tests := map[string]struct {
		request *http.Request
		app     stage.Func
		want    bool
	}{
		"a usual request":   {request: reused(httptest.NewRequest("GET", "/", nil)), app: ok, want: true},
		"a refused one":     {request: reused(httptest.NewRequest("GET", "/", nil)), app: refuse, want: true},
		"with a body":       {request: reused(httptest.NewRequest("POST", "/", strings.NewReader("a"))), app: ok},
		"of another server": {request: httptest.NewRequest("GET", "/", nil), app: ok},
		"without room":      {request: crowded(httptest.NewRequest("GET", "/", nil)), app: ok},
		"an aborted one":    {request: reused(httptest.NewRequest("GET", "/", nil)), app: func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) }},
		"a taken connection": {request: reused(httptest.NewRequest("GET", "/", nil)), app: func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(http.StatusSwitchingProtocols)
			return nil
		}},
		"a traced one": {request: reused(httptest.NewRequest("GET", "/", nil)), app: func(_ http.ResponseWriter, r *http.Request) error {
			request.From(r).Trace = &request.Trace{}
			return nil
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var info *request.Info
			f := observed(t, LogAll, stage.Chain(stage.Func(func(w http.ResponseWriter, r *http.Request) error {
				info = request.From(r)
				info.Path = "/kept"
				return tt.app(w, r)
			}), Errors()))
			func() {
				defer func() { _ = recover() }()
				f.ServeHTTP(httptest.NewRecorder(), tt.request)
			}()
			if got := info.Path == ""; got != tt.want {
				t.Errorf("reused: %v; want %v", got, tt.want)
			}
			if tt.want && request.From(tt.request) == info {
				t.Error("the request still has the Info, which may be that of another one")
			}
		})
	}
}

// TestConcurrentRecords: requests at the same time, and after each other, see their own Info, header and response.
func TestConcurrentRecords(t *testing.T) {
	tag := response.Decorate(func(r *http.Request, _ int, h http.Header) { h["X-Path"] = request.From(r).Values(r.URL.Path) })
	f := observed(t, LogAll, stage.Chain(stage.Func(func(w http.ResponseWriter, r *http.Request) error {
		info := request.From(r)
		if info.Path != "" || info.Decisions != nil || info.Watches != nil || info.RateLimit != nil {
			t.Errorf("the Info of an earlier request: %+v", info)
		}
		info.Path, info.RateLimit = r.URL.Path, []string{"1"}
		info.Decide(request.Decision{Stage: r.URL.Path, Shadow: true})
		info.Watch(request.Watch{})
		_, err := io.WriteString(w, info.Path)
		return err
	}), tag, Errors()))
	var wg sync.WaitGroup
	var headers [8][]http.Header
	for worker := range headers {
		wg.Go(func() {
			for i := range 50 {
				path, w := fmt.Sprintf("/%d/%d", worker, i), httptest.NewRecorder()
				f.ServeHTTP(w, reused(httptest.NewRequest("GET", path, nil)))
				if w.Body.String() != path {
					t.Errorf("%s has the response of %s", path, w.Body)
				}
				headers[worker] = append(headers[worker], w.Header())
			}
		})
	}
	wg.Wait()
	for worker := range headers {
		for i, h := range headers[worker] {
			if want := fmt.Sprintf("/%d/%d", worker, i); h.Get("X-Path") != want {
				t.Errorf("the header of %s has become that of %s", want, h.Get("X-Path"))
			}
		}
	}
	if lines := f.logs.lines(t, "request"); len(lines) != 400 {
		t.Errorf("%d lines", len(lines))
	}
}

// pouring is a ResponseWriter that takes a body as a whole.
type pouring struct {
	*httptest.ResponseRecorder
	from io.Reader
}

func (p *pouring) ReadFrom(body io.Reader) (int64, error) {
	p.from = body
	return io.Copy(p.ResponseRecorder, body)
}

// appReader is a body of the app, for which the request waits.
type appReader struct {
	io.Reader
	timing *request.Timing
}

func (a *appReader) Read(p []byte) (int, error) {
	a.timing.App(time.Now().Add(-time.Hour))
	return a.Reader.Read(p)
}

// TestBodiesThatAreNotCopied: a body that the server takes as a whole is counted, and so is one in pieces. The wait for the app is not that for the client.
func TestBodiesThatAreNotCopied(t *testing.T) {
	var body *appReader
	f := observed(t, LogAll, stage.Chain(stage.Func(func(w http.ResponseWriter, r *http.Request) error {
		timing := request.From(r).Timing
		timing.Asked()
		body = &appReader{strings.NewReader(strings.Repeat("a", 100_000)), timing}
		n, err := w.(io.ReaderFrom).ReadFrom(body)
		if n != 100_000 {
			t.Errorf("%d bytes were sent", n)
		}
		if inApp, _ := timing.InApp(); timing.Overhead(inApp+time.Minute) < 59*time.Second {
			t.Errorf("the wait for the app counts as one for the client: overhead %s", timing.Overhead(inApp+time.Minute))
		}
		return err
	}), Errors()))
	whole, pieces := &pouring{ResponseRecorder: httptest.NewRecorder()}, httptest.NewRecorder()
	f.ServeHTTP(whole, httptest.NewRequest("GET", "/whole", nil))
	if whole.from != body || whole.Body.Len() != 100_000 {
		t.Errorf("%d bytes from %T", whole.Body.Len(), whole.from)
	}
	f.ServeHTTP(pieces, httptest.NewRequest("GET", "/pieces", nil))
	if pieces.Body.Len() != 100_000 {
		t.Errorf("%d bytes in pieces", pieces.Body.Len())
	}
	for _, line := range f.logs.lines(t, "request") {
		if line["bytes"] != 100_000.0 || line["status"] != 200.0 {
			t.Errorf("logged %v", line)
		}
	}
}
