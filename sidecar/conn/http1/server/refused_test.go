package server

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// TestRespond: a refused head reaches Respond with what can be read of it, also if it arrives in pieces, and the client gets the
// response of Respond, or a plain problem document if there is none.
func TestRespond(t *testing.T) {
	tests := map[string]struct {
		input                string
		method, path, origin string
		code                 httperr.Code
	}{
		"a broken escape":    {"GET /a%zz?token=s HTTP/1.1\r\nHost: a\r\nOrigin: https://b.example\r\n\r\n", "GET", "/a%zz", "https://b.example", "bad-path"},
		"no path":            {"HEAD ! HTTP/1.1\r\nOrigin: https://b.example\r\n\r\n", "HEAD", "!", "https://b.example", "bad-target"},
		"a malformed host":   {"GET /x HTTP/1.1\r\nOrigin: https://b.example\r\nHost: a, b\r\n\r\n", "GET", "/x", "https://b.example", "bad-host"},
		"an incomplete line": {"GET /x HTTP/1.1\r\nHost: a b\r\nOrigin: https://b", "GET", "/x", "", "bad-host"},
		"nothing readable":   {"\x16\x03\x01\x02\x00\x01", "", "", "", "malformed-request-line"},
	}
	for name, tt := range tests {
		for _, size := range []int{1, 7, 4096} {
			if size < 4096 && (tt.origin != "" && !strings.Contains(name, "host")) {
				continue // the field has not arrived when the head is refused
			}
			s := &script{input: []byte(tt.input), size: size}
			var got *http.Request
			run(t, s, Config{Respond: func(w http.ResponseWriter, r *http.Request, why *httperr.Error) {
				got = r
				w.Header().Set("X-Policy", "here")
				httperr.Write(w, r, why)
			}})
			res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(s.written.Bytes())), got)
			if err != nil || got == nil {
				t.Fatalf("%s: %q, %v", name, s.written.Bytes(), err)
			}
			path := strings.HasPrefix(tt.path, got.URL.Path) // in pieces, only a part of it has arrived
			if got.Method != tt.method && size == 4096 || !path || got.URL.Path != tt.path && size == 4096 || got.Header.Get("Origin") != tt.origin {
				t.Errorf("%s in pieces of %d: %s %s %v", name, size, got.Method, got.URL, got.Header)
			}
			if !res.Close || res.Header.Get("X-Policy") != "here" || res.Header.Get("Date") == "" || res.StatusCode != 400 {
				t.Errorf("%s: %s %v", name, res.Status, res.Header)
			}
			if body, err := io.ReadAll(res.Body); err != nil || (tt.method != "HEAD") != bytes.Contains(body, []byte(tt.code)) {
				t.Errorf("%s: %q, %v", name, body, err)
			}
		}
	}
}

// TestRequestLine: what may be logged of the first line of a refused head has no query, no user name and no part of a body.
func TestRequestLine(t *testing.T) {
	tests := map[string]struct{ line, wantMethod, wantPath string }{
		"a path":                  {"GET /a%zz?token=s HTTP/1.1\r", "GET", "/a%zz"},
		"a fragment":              {"GET /a#access_token=s HTTP/1.1\r", "GET", "/a"},
		"no path":                 {"PUT .git/config HTTP/1.1\r", "PUT", ".git/config"},
		"cut in the path":         {"GET /a%z", "GET", "/a%z"},
		"a query alone":           {"GET token=s&a=b HTTP/1.1\r", "GET", "token"},
		"a user name":             {"GET http://u:s@a.example/b%zz?c HTTP/1.1\r", "GET", "/b%zz"},
		"a user name, no path":    {"GET http://u:s@a.example HTTP/1.1\r", "GET", "/"},
		"a user name, no scheme":  {"GET s@a.example/b HTTP/1.1\r", "GET", "s"},
		"a scheme in the path":    {"GET /to/http://u/%zz HTTP/1.1\r", "GET", "/to/http://u/%zz"},
		"a tab for the space":     {"GET\t/a?token=s HTTP/1.1\r", "", ""},
		"the rest of a form":      {"=ada&password=s", "", ""},
		"the rest of JSON":        {`{"password": "s"}`, "", ""},
		"one word":                {"S3CRET", "", ""},
		"two words":               {"s3cret word", "", ""},
		"a method that is long":   {strings.Repeat("S", 80) + " /", "", ""},
		"another protocol's data": {"\x16\x03\x01 /a", "", ""},
	}
	for name, tt := range tests {
		if method, path := requestLine(tt.line); method != tt.wantMethod || path != tt.wantPath {
			t.Errorf("%s: %q %q, want %q %q", name, method, path, tt.wantMethod, tt.wantPath)
		}
	}
}

// TestRespondFails: a handler that panics, or responds with a success, does not decide.
func TestRespondFails(t *testing.T) {
	for name, respond := range map[string]func(http.ResponseWriter, *http.Request, *httperr.Error){
		"a panic":   func(http.ResponseWriter, *http.Request, *httperr.Error) { panic(http.ErrAbortHandler) },
		"a success": func(w http.ResponseWriter, _ *http.Request, _ *httperr.Error) { _, _ = io.WriteString(w, "hello") },
		"nothing":   func(http.ResponseWriter, *http.Request, *httperr.Error) {},
	} {
		s := &script{input: []byte("GET ! HTTP/1.1\r\n"), size: 4096}
		run(t, s, Config{Respond: respond})
		if !bytes.HasPrefix(s.written.Bytes(), []byte("HTTP/1.1 400 ")) || !bytes.Contains(s.written.Bytes(), []byte("bad-target")) {
			t.Errorf("%s: %q", name, s.written.Bytes())
		}
	}
}

// TestRefusalOfTheHandler: a handler that responds to a broken body with the refusal's own status sends its own headers.
func TestRefusalOfTheHandler(t *testing.T) {
	started := make(chan struct{})
	addr, _ := serve(t, Config{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(started)
		_, err := io.ReadAll(r.Body)
		w.Header().Set("X-Policy", "here")
		httperr.Write(w, r, err)
	}))
	got := exchangeAfter(t, addr, post+"Transfer-Encoding: chunked\r\n\r\n", started, "5\r\nhello\n")
	if strings.Count(got, "HTTP/1.1 400") != 1 || !strings.Contains(got, "X-Policy: here") || !strings.Contains(got, "malformed-chunk-end") || !strings.Contains(got, "Connection: close") {
		t.Errorf("%q", got)
	}
}

// FuzzRespond checks that a refusal is one valid response that does not repeat the request.
func FuzzRespond(f *testing.F) {
	for _, seed := range []string{"GET /a%zz HTTP/1.1\r\nOrigin: x\r\n\r\n", "GET ! \r\n", "a\nOrigin:\r\x00\n\n", get + "GET / HTTP/1.1\r\nHost: a/b\r\n"} {
		f.Add([]byte(seed), uint16(4096))
		f.Add([]byte(seed), uint16(3))
	}
	f.Fuzz(func(t *testing.T, input []byte, size uint16) {
		if size == 0 {
			return
		}
		s := &script{input: input, size: int(size)}
		var r *http.Request
		served := 0
		run(t, s, Config{Respond: func(w http.ResponseWriter, refused *http.Request, why *httperr.Error) {
			r = refused
			if origin := r.Header.Get("Origin"); origin != "" {
				w.Header().Set("Access-Control-Allow-Origin", origin)
			}
			httperr.Write(w, r, why)
		}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { served++ })})
		if r == nil {
			return
		}
		reader := bufio.NewReader(bytes.NewReader(s.written.Bytes()))
		for range served {
			if before, err := http.ReadResponse(reader, nil); err != nil || before.ContentLength > 0 {
				t.Fatalf("%q: %v", s.written.Bytes(), err)
			}
		}
		res, err := http.ReadResponse(reader, r)
		if err != nil || res.StatusCode < 400 || !res.Close {
			t.Fatalf("%q: %v", s.written.Bytes(), err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatal(err)
		}
		if rest, _ := io.ReadAll(reader); len(rest) > 0 {
			t.Fatalf("more than one response: %q", s.written.Bytes())
		}
	})
}
