package strip

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// seen returns the header as it is after the stage.
func seen(t *testing.T, r *http.Request) http.Header {
	t.Helper()
	var header http.Header
	h := New([]string{"X-Auth-User", "X-Team-*"}, []string{"X-Api-Token"})(stage.Func(func(_ http.ResponseWriter, r *http.Request) error {
		header = r.Header
		return nil
	}))
	if err := h.ServeHTTP(httptest.NewRecorder(), r); err != nil {
		t.Fatal(err)
	}
	return header
}

func TestStripHeaders(t *testing.T) {
	tests := map[string]struct {
		name     string
		wantKept bool
	}{
		"named":               {name: "X-Auth-User"},
		"other case":          {name: "x-AUTH-user"},
		"underscores":         {name: "X_Auth_User"},
		"by prefix":           {name: "X-Team-Lead"},
		"Postern's":           {name: "X-Postern-Subject"},
		"Postern's, no X":     {name: "Postern_Session"},
		"replaces the path":   {name: "X-Original-Url"},
		"rewrites the path":   {name: "X-Rewrite_URL"},
		"cuts the path":       {name: "Script_name"},
		"sets the path":       {name: "PATH_INFO"},
		"the app's own proxy": {name: "Proxy"},
		"the body's length":   {name: "Content_Length"},
		"the framing":         {name: "Transfer_Encoding"},
		"the content's type":  {name: "Content.Type"},
		"fetch metadata":      {name: "sec_fetch-SITE"},
		"a proxy's statement": {name: "X_Forwarded_For"},
		"a condition":         {name: "If_None~Match"},
		"a token's variant":   {name: "X_Api-Token"},
		"the token":           {name: "X-Api-Token", wantKept: true},
		"an app's underscore": {name: "X_Tenant", wantKept: true},
		"a condition itself":  {name: "If-None-Match", wantKept: true},
		"a proxy's own":       {name: "X-Forwarded-For", wantKept: true},
		"an ordinary one":     {name: "X-Request-Id", wantKept: true},
		"a longer name":       {name: "X-Auth-Username", wantKept: true},
		"the credential":      {name: "Authorization", wantKept: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header[tt.name] = []string{"forged", "twice"}
			if _, kept := seen(t, r)[tt.name]; kept != tt.wantKept {
				t.Errorf("%s kept: %v; want %v", tt.name, kept, tt.wantKept)
			}
		})
	}
}

// TestStripTrailers sends trailers over a real connection, because only net/http's server decides when they appear.
func TestStripTrailers(t *testing.T) {
	trailers := make(chan http.Header, 1)
	h := New([]string{"X-Auth-User"}, nil)(stage.Func(func(_ http.ResponseWriter, r *http.Request) error {
		_, err := io.Copy(io.Discard, r.Body)
		trailers <- r.Trailer
		return err
	}))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h.ServeHTTP(w, r); err != nil {
			t.Error(err)
		}
	}))
	defer srv.Close()
	tests := map[string]struct{ announced string }{
		"announced":     {announced: "Trailer: X-Auth-User, X-Checksum\r\n"},
		"not announced": {},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"+tt.announced+
				"\r\n2\r\nhi\r\n0\r\nX-Auth-User: root\r\nX_Auth_User: root\r\nAuthorization: x\r\nX-Checksum: 1\r\n\r\n")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
				t.Fatal(err)
			}
			got := <-trailers
			if len(got) != 1 || got.Get("X-Checksum") != "1" {
				t.Errorf("trailers %v were kept; want only X-Checksum", got)
			}
		})
	}
}
