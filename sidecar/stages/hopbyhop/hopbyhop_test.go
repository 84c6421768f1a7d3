package hopbyhop

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/posterndev/postern/api/check/fieldset"
	"github.com/posterndev/postern/sidecar/httpkit/field"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// seen returns the request with this head as it is after the stage.
func seen(t testing.TB, head string) http.Header {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head + "\r\n\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	return through(t, r)
}

func through(t testing.TB, r *http.Request) http.Header {
	t.Helper()
	var header http.Header
	h := New([]string{"X-Auth-User", "X-Team-*"})(stage.Func(func(_ http.ResponseWriter, r *http.Request) error {
		header = r.Header
		return nil
	}))
	if err := h.ServeHTTP(httptest.NewRecorder(), r); err != nil {
		t.Fatal(err)
	}
	return header
}

func TestConnectionOptions(t *testing.T) {
	tests := map[string]struct {
		connection string
		// sent is a field of the request with the value "v", which must be kept or removed.
		sent     string
		wantKept bool
	}{
		"not named":                  {connection: "close", sent: "X-Hop", wantKept: true},
		"named":                      {connection: "X-Hop", sent: "X-Hop"},
		"named in another case":      {connection: "close, x-HOP", sent: "X-Hop"},
		"named in a second line":     {connection: "close\r\nConnection: x-hop", sent: "X-Hop"},
		"named among empty elements": {connection: ", ,X-Hop\t,", sent: "X-Hop"},
		"an identity header":         {connection: "x-auth-user", sent: "X-Auth-User", wantKept: true},
		"a variant of it":            {connection: "X_Auth_User", sent: "X_auth_user", wantKept: true},
		"one of a prefix":            {connection: "X-Team-A", sent: "X-Team-A", wantKept: true},
		"the client's address":       {connection: "X-Forwarded-For", sent: "X-Forwarded-For", wantKept: true},
		"a proxy's certificate":      {connection: "X-Client-Cert", sent: "X-Client-Cert", wantKept: true},
		"Forwarded":                  {connection: "forwarded", sent: "Forwarded", wantKept: true},
		"the credential":             {connection: "Authorization", sent: "Authorization", wantKept: true},
		"cookies":                    {connection: "cookie", sent: "Cookie", wantKept: true},
		"Origin":                     {connection: "Origin", sent: "Origin", wantKept: true},
		"fetch metadata":             {connection: "Sec-Fetch-Site", sent: "Sec-Fetch-Site", wantKept: true},
		"the content's type":         {connection: "Content-Type", sent: "Content-Type", wantKept: true},
		"a condition":                {connection: "If-Match", sent: "If-Match", wantKept: true},
		"the sidecar's own":          {connection: "Postern-Request", sent: "Postern-Request", wantKept: true},
		"itself":                     {connection: "Connection", sent: "Keep-Alive"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := seen(t, "GET / HTTP/1.1\r\nHost: x\r\n"+tt.sent+": v\r\nConnection: "+tt.connection)
			if got := strings.Join(h[tt.sent], "|"); (got == "v") != tt.wantKept {
				t.Errorf("%s is %q; kept wanted: %v", tt.sent, got, tt.wantKept)
			}
			if lines := h["Connection"]; lines != nil {
				t.Errorf("Connection %q was kept", lines)
			}
		})
	}
}

func TestHopByHopFieldsAreRemoved(t *testing.T) {
	for _, name := range fieldset.HopByHop() {
		for _, name := range []string{name, strings.ReplaceAll(name, "-", "_")} {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header[name] = []string{"x"}
			if h := through(t, r); len(h) != 0 {
				t.Errorf("%s: %q was kept", name, h)
			}
		}
	}
}

func TestTE(t *testing.T) {
	tests := map[string]struct {
		te, want string
	}{
		"trailers":         {te: "trailers", want: "trailers"},
		"among others":     {te: "gzip;q=0.5, Trailers ;q=1", want: "trailers"},
		"another":          {te: "gzip"},
		"a longer token":   {te: "trailersx"},
		"nothing":          {te: ""},
		"on a second line": {te: "gzip\r\nTE: trailers", want: "trailers"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := seen(t, "GET / HTTP/1.1\r\nHost: x\r\nConnection: TE\r\nTE: "+tt.te)
			if got := strings.Join(h["Te"], "|"); got != tt.want {
				t.Errorf("TE %q; want %q", got, tt.want)
			}
		})
	}
	r := httptest.NewRequest("POST", "/", nil)
	r.ProtoMajor, r.Header["Te"] = 2, []string{"trailers"}
	if got := strings.Join(through(t, r)["Te"], "|"); got != "trailers" {
		t.Errorf("TE %q in HTTP/2", got)
	}
}

func TestUpgrade(t *testing.T) {
	const key, version = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "Sec-WebSocket-Version: 13"
	tests := map[string]struct {
		line, head string
		want       bool
	}{
		"WebSocket":               {head: "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n" + key + version, want: true},
		"h2c":                     {head: "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA"},
		"TLS":                     {head: "Connection: Upgrade\r\nUpgrade: TLS/1.0"},
		"two protocols":           {head: "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n" + key + version},
		"two lines":               {head: "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n" + key + version},
		"no key":                  {head: "Connection: Upgrade\r\nUpgrade: websocket\r\n" + version},
		"a short key":             {head: "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAA\r\n" + version},
		"two keys":                {head: "Connection: Upgrade\r\nUpgrade: websocket\r\n" + key + key + version},
		"an old version":          {head: "Connection: Upgrade\r\nUpgrade: websocket\r\n" + key + "Sec-WebSocket-Version: 8"},
		"not in Connection":       {head: "Connection: close\r\nUpgrade: websocket\r\n" + key + version},
		"not a GET":               {line: "DELETE / HTTP/1.1", head: "Connection: Upgrade\r\nUpgrade: websocket\r\n" + key + version},
		"HTTP/1.0":                {line: "GET / HTTP/1.0", head: "Connection: Upgrade\r\nUpgrade: websocket\r\n" + key + version},
		"with a body":             {head: "Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n" + key + version},
		"with a known length":     {head: "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n" + key + version},
		"protocol with a version": {head: "Connection: Upgrade\r\nUpgrade: websocket/13\r\n" + key + version},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.line == "" {
				tt.line = "GET / HTTP/1.1"
			}
			h := seen(t, tt.line+"\r\nHost: x\r\n"+tt.head)
			want := ""
			if tt.want {
				want = "Upgrade websocket"
			}
			if got := strings.TrimSpace(h.Get("Connection") + " " + h.Get("Upgrade")); got != want || h["Http2-Settings"] != nil {
				t.Errorf("the app is asked for %q (%v); want %q", got, h, want)
			}
		})
	}
}

func TestOrdinaryRequestsAllocateNothing(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	for _, name := range []string{"Accept", "Accept-Encoding", "Accept-Language", "User-Agent", "Cookie", "Sec-Fetch-Site", "Priority"} {
		r.Header.Set(name, "x")
	}
	c := &cleaner{hopByHop: field.NewNames(fieldset.HopByHop()...), protected: field.NewNames(fieldset.EndToEnd()...)}
	if n := testing.AllocsPerRun(100, func() { c.clean(r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkClean(b *testing.B) {
	c := &cleaner{hopByHop: field.NewNames(fieldset.HopByHop()...), protected: field.NewNames(fieldset.EndToEnd()...)}
	r := httptest.NewRequest("GET", "/", nil)
	for _, name := range []string{"Accept", "Accept-Encoding", "Accept-Language", "User-Agent", "Cookie", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Priority"} {
		r.Header.Set(name, "x")
	}
	b.ReportAllocs()
	for b.Loop() {
		r.Header["Connection"] = keepAlive
		c.clean(r)
	}
}

var keepAlive = []string{"keep-alive"}

// FuzzClean checks that Connection removes no protected field, and that no Connection is left with an option that a later proxy
// would act on.
func FuzzClean(f *testing.F) {
	f.Add("close", "X-Hop", "websocket")
	f.Add("Upgrade, X-Forwarded-For,\tauthorization", "x_auth_user", "h2c")
	f.Fuzz(func(t *testing.T, connection, name, upgrade string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Authorization"], r.Header["X-Forwarded-For"], r.Header["X-Auth-User"] = []string{"a"}, []string{"b"}, []string{"c"}
		r.Header[name], r.Header["Connection"], r.Header["Upgrade"] = []string{"d"}, []string{connection, name}, []string{upgrade}
		h := through(t, r)
		for _, protected := range []string{"Authorization", "X-Forwarded-For", "X-Auth-User"} {
			if len(h[protected]) != 1 {
				t.Fatalf("%s was removed", protected)
			}
		}
		if h["Connection"] != nil || h["Upgrade"] != nil {
			t.Fatalf("Connection %q, Upgrade %q without a handshake", h["Connection"], h["Upgrade"])
		}
	})
}
