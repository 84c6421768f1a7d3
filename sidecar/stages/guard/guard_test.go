package guard

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// serve sends the head of an HTTP/1.1 request through the stage; seen is nil if it was refused.
func serve(t *testing.T, r *http.Request) (seen *http.Request, info *request.Info, err error) {
	t.Helper()
	info = &request.Info{}
	h := New(Config{})(stage.Func(func(_ http.ResponseWriter, r *http.Request) error {
		seen = r
		return nil
	}))
	err = h.ServeHTTP(httptest.NewRecorder(), request.With(r, info))
	return seen, info, err
}

func read(t *testing.T, head string) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head + "\r\n\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Del("Host")
	return r
}

func TestGuardPasses(t *testing.T) {
	tests := map[string]struct {
		head        string
		wantPath    string
		wantForward string
		wantQuery   string
	}{
		"plain":                 {head: "GET /a/b?c=%2f HTTP/1.1\r\nHost: x", wantPath: "/a/b", wantForward: "/a/b", wantQuery: "c=%2f"},
		"escaped":               {head: "GET /%61%20b HTTP/1.1\r\nHost: x", wantPath: "/a b", wantForward: "/a%20b"},
		"unescaped mark":        {head: "GET /a!b HTTP/1.1\r\nHost: x", wantPath: "/a!b", wantForward: "/a!b"},
		"two slashes":           {head: "GET //evil//b HTTP/1.1\r\nHost: x", wantPath: "//evil//b", wantForward: "//evil//b"},
		"absolute form":         {head: "GET http://x/a HTTP/1.1\r\nHost: x", wantPath: "/a", wantForward: "/a"},
		"absolute without path": {head: "GET http://x?y HTTP/1.1\r\nHost: x", wantPath: "/", wantForward: "/", wantQuery: "y"},
		"raw UTF-8":             {head: "GET /é HTTP/1.1\r\nHost: x", wantPath: "/é", wantForward: "/%C3%A9"},
		"raw bytes in a query":  {head: "GET /a?b=é&c[]={d}|%zz#x HTTP/1.1\r\nHost: x", wantPath: "/a", wantForward: "/a", wantQuery: "b=%C3%A9&c[]={d}|%zz%23x"},
		"the server as a whole": {head: "OPTIONS * HTTP/1.1\r\nHost: x", wantPath: "*", wantForward: "*"},
		"another method":        {head: "M-SEARCH / HTTP/1.1\r\nHost: x", wantPath: "/", wantForward: "/"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			seen, info, err := serve(t, read(t, tt.head))
			if err != nil {
				t.Fatal(err)
			}
			if info.Path != tt.wantPath || seen.URL.EscapedPath() != tt.wantForward || seen.URL.RawQuery != tt.wantQuery {
				t.Errorf("rules see %q, the app %q?%q; want %q, %q?%q", info.Path, seen.URL.EscapedPath(), seen.URL.RawQuery,
					tt.wantPath, tt.wantForward, tt.wantQuery)
			}
			if seen.URL.Host != "" || seen.URL.Scheme != "" {
				t.Errorf("the target %v is not in origin form", seen.URL)
			}
		})
	}
}

func TestGuardRefuses(t *testing.T) {
	tests := map[string]struct {
		head       string
		http2      http.Header
		wantCode   httperr.Code
		wantStatus int
	}{
		"encoded slash":            {head: "GET /a%2fb HTTP/1.1\r\nHost: x", wantCode: "bad-path"},
		"dot segments":             {head: "GET /a/../b HTTP/1.1\r\nHost: x", wantCode: "bad-path"},
		"raw backslash":            {head: "GET /a\\b HTTP/1.1\r\nHost: x", wantCode: "bad-path"},
		"path parameter":           {head: "GET /a;b HTTP/1.1\r\nHost: x", wantCode: "bad-path"},
		"fragment":                 {head: "GET /a#b HTTP/1.1\r\nHost: x", wantCode: "bad-path"},
		"asterisk without OPTIONS": {head: "GET * HTTP/1.1\r\nHost: x", wantCode: "bad-path"},
		"other scheme":             {head: "GET ftp://x/a HTTP/1.1\r\nHost: x", wantCode: "bad-target"},
		"opaque":                   {head: "GET http:a HTTP/1.1\r\nHost: x", wantCode: "bad-target"},
		"user":                     {head: "GET http://u:p@x/a HTTP/1.1\r\nHost: x", wantCode: "bad-target"},
		"CONNECT":                  {head: "CONNECT x:443 HTTP/1.1\r\nHost: x", wantCode: "method-not-allowed", wantStatus: 405},
		"TRACE":                    {head: "TRACE / HTTP/1.1\r\nHost: x", wantCode: "method-not-allowed", wantStatus: 405},
		"method in lower case":     {head: "get / HTTP/1.1\r\nHost: x", wantCode: "bad-method"},
		"long method":              {head: strings.Repeat("A", 33) + " / HTTP/1.1\r\nHost: x", wantCode: "bad-method"},
		"HTTP/2 Connection":        {http2: http.Header{"Connection": {"close"}}, wantCode: "connection-header"},
		"HTTP/2 Keep-Alive":        {http2: http.Header{"Keep-Alive": {"1"}}, wantCode: "connection-header"},
		"HTTP/2 Proxy-Connection":  {http2: http.Header{"Proxy-Connection": {"x"}}, wantCode: "connection-header"},
		"HTTP/2 Transfer-Encoding": {http2: http.Header{"Transfer-Encoding": {"chunked"}}, wantCode: "connection-header"},
		"HTTP/2 Upgrade":           {http2: http.Header{"Upgrade": {"websocket"}}, wantCode: "connection-header"},
		"no authority":             {head: "GET http:///a HTTP/1.1\r\nHost: x", wantCode: "bad-target"},
		"two hosts in one":         {head: "GET /a HTTP/1.1\r\nHost: x,y", wantCode: "bad-host"},
		"a host with user":         {head: "GET /a HTTP/1.1\r\nHost: u@x", wantCode: "bad-host"},
		"HTTP/2 two lengths":       {http2: http.Header{"Content-Length": {"1", "1"}}, wantCode: "duplicate-content-length"},
		"HTTP/2 malformed length":  {http2: http.Header{"Content-Length": {"+1"}}, wantCode: "malformed-content-length"},
		"HTTP/2 empty length":      {http2: http.Header{"Content-Length": {""}}, wantCode: "malformed-content-length"},
		"HTTP/2 TE":                {http2: http.Header{"Te": {"trailers, deflate"}}, wantCode: "connection-header"},
		"HTTP/2 another Host":      {http2: http.Header{"Host": {"other"}}, wantCode: "bad-host"},
		"HTTP/2 two Hosts":         {http2: http.Header{"Host": {"x", "x"}}, wantCode: "bad-host"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "http://x/", nil)
			if tt.http2 != nil {
				r.Header, r.Host, r.ProtoMajor = tt.http2, "x", 2
			} else {
				r = read(t, tt.head)
			}
			seen, info, err := serve(t, r)
			if seen != nil || err == nil {
				t.Fatal("the request passed")
			}
			wantStatus := http.StatusBadRequest
			if tt.wantStatus != 0 {
				wantStatus = tt.wantStatus
			}
			if e := httperr.From(err); e.Code != tt.wantCode || e.Status != wantStatus {
				t.Errorf("refused with %d %s; want %d %s", e.Status, e.Code, wantStatus, tt.wantCode)
			}
			if len(info.Decisions) != 1 || info.Decisions[0].Shadow {
				t.Errorf("the refusal is recorded as %+v", info.Decisions)
			}
		})
	}
}

func TestGuardRefusesSpaceInHTTP2Query(t *testing.T) {
	r := httptest.NewRequest("GET", "http://x/a", nil)
	r.ProtoMajor, r.URL.RawQuery = 2, "b HTTP/1.1"
	if seen, _, err := serve(t, r); seen != nil || httperr.From(err).Code != "bad-target" {
		t.Errorf("refused with %v; want bad-target", err)
	}
}

func TestGuardHTTP2Passes(t *testing.T) {
	r := httptest.NewRequest("POST", "http://X.example/a", nil)
	r.ProtoMajor = 2
	r.Header = http.Header{"Te": {"trailers"}, "Host": {"x.EXAMPLE"}}
	if seen, _, err := serve(t, r); err != nil || seen.Header["Host"] != nil {
		t.Errorf("gRPC's TE and a Host equal to the authority: %v, %v", err, seen)
	}
}
