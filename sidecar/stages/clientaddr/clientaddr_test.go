package clientaddr

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// locate sends a request from peer through the stage.
func locate(t *testing.T, peer string, header http.Header) (*request.Info, http.Header) {
	t.Helper()
	r := httptest.NewRequest("GET", "http://shop.example/", nil)
	r.RemoteAddr, r.Header = peer, header
	info := &request.Info{}
	h := New(Config{Trusted: []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("::ffff:192.0.2.0/120"),
	}, Tokens: []string{"x-forwarded-jwt"},
	})(stage.Func(func(http.ResponseWriter, *http.Request) error { return nil }))
	if err := h.ServeHTTP(httptest.NewRecorder(), request.With(r, info)); err != nil {
		t.Fatal(err)
	}
	return info, r.Header
}

func TestClientAddr(t *testing.T) {
	long := make([]string, 40)
	for i := range long {
		long[i] = "10.9.9.9"
	}
	tests := map[string]struct {
		peer    string
		xff     []string
		want    string
		wantXFF string
	}{
		"no proxy":                          {peer: "203.0.113.9:1", want: "203.0.113.9", wantXFF: "203.0.113.9"},
		"untrusted peer with forged header": {peer: "203.0.113.9:1", xff: []string{"1.1.1.1"}, want: "203.0.113.9", wantXFF: "203.0.113.9"},
		"trusted peer without header":       {peer: "10.0.0.1:1", want: "10.0.0.1", wantXFF: "10.0.0.1"},
		"one proxy":                         {peer: "10.0.0.1:1", xff: []string{"203.0.113.9"}, want: "203.0.113.9", wantXFF: "203.0.113.9, 10.0.0.1"},
		"forged left part":                  {peer: "10.0.0.1:1", xff: []string{"1.1.1.1, 203.0.113.9"}, want: "203.0.113.9", wantXFF: "203.0.113.9, 10.0.0.1"},
		"forged trusted left part":          {peer: "10.0.0.1:1", xff: []string{"10.0.0.5, 203.0.113.9"}, want: "203.0.113.9", wantXFF: "203.0.113.9, 10.0.0.1"},
		"two proxies":                       {peer: "10.0.0.1:1", xff: []string{"203.0.113.9, 10.0.0.2"}, want: "203.0.113.9", wantXFF: "203.0.113.9, 10.0.0.2, 10.0.0.1"},
		"several lines":                     {peer: "10.0.0.1:1", xff: []string{"1.1.1.1,203.0.113.9", "10.0.0.2"}, want: "203.0.113.9", wantXFF: "203.0.113.9, 10.0.0.2, 10.0.0.1"},
		"only proxies":                      {peer: "10.0.0.1:1", xff: []string{"10.0.0.3, 10.0.0.2"}, want: "10.0.0.3", wantXFF: "10.0.0.3, 10.0.0.2, 10.0.0.1"},
		"garbage":                           {peer: "10.0.0.1:1", xff: []string{"203.0.113.9, unknown, 10.0.0.2"}, want: "10.0.0.2", wantXFF: "10.0.0.2, 10.0.0.1"},
		"garbage first":                     {peer: "10.0.0.1:1", xff: []string{"1.1.1.1,"}, want: "10.0.0.1", wantXFF: "10.0.0.1"},
		"an empty line":                     {peer: "10.0.0.1:1", xff: []string{"1.1.1.1", ""}, want: "10.0.0.1", wantXFF: "10.0.0.1"},
		"ports":                             {peer: "10.0.0.1:1", xff: []string{"203.0.113.9:4711"}, want: "203.0.113.9", wantXFF: "203.0.113.9, 10.0.0.1"},
		"IPv6":                              {peer: "[fd00::1]:1", xff: []string{"2001:db8::1"}, want: "2001:db8::1", wantXFF: "2001:db8::1, fd00::1"},
		"IPv6 in brackets":                  {peer: "[fd00::1]:1", xff: []string{"[2001:db8::1]"}, want: "2001:db8::1", wantXFF: "2001:db8::1, fd00::1"},
		"IPv6 with port":                    {peer: "[fd00::1]:1", xff: []string{"[2001:db8::1]:80"}, want: "2001:db8::1", wantXFF: "2001:db8::1, fd00::1"},
		"IPv4 in brackets":                  {peer: "10.0.0.1:1", xff: []string{"[1.1.1.1]"}, want: "10.0.0.1", wantXFF: "10.0.0.1"},
		"mapped peer":                       {peer: "[::ffff:10.0.0.1]:1", xff: []string{"::ffff:203.0.113.9"}, want: "203.0.113.9", wantXFF: "203.0.113.9, 10.0.0.1"},
		"mapped prefix":                     {peer: "192.0.2.1:1", xff: []string{"203.0.113.9"}, want: "203.0.113.9", wantXFF: "203.0.113.9, 192.0.2.1"},
		"zones":                             {peer: "[fd00::1%eth0]:1", xff: []string{"fe80::1%x"}, want: "fe80::1", wantXFF: "fe80::1, fd00::1"},
		"a long entry":                      {peer: "10.0.0.1:1", xff: []string{string(make([]byte, 100))}, want: "10.0.0.1", wantXFF: "10.0.0.1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			info, header := locate(t, tt.peer, http.Header{"X-Forwarded-For": tt.xff})
			if info.ClientAddr != netip.MustParseAddr(tt.want) {
				t.Errorf("the client is %v; want %v", info.ClientAddr, tt.want)
			}
			if got := header["X-Forwarded-For"]; !slices.Equal(got, []string{tt.wantXFF}) {
				t.Errorf("the app sees X-Forwarded-For %q; want %q", got, tt.wantXFF)
			}
		})
	}
	t.Run("too many hops", func(t *testing.T) {
		info, _ := locate(t, "10.0.0.1:1", http.Header{"X-Forwarded-For": append([]string{"203.0.113.9"}, long...)})
		if info.ClientAddr != netip.MustParseAddr("10.9.9.9") {
			t.Errorf("the client is %v; want the last trusted proxy", info.ClientAddr)
		}
	})
}

// TestLocator: it finds the client that the stage finds, and no client where there are proxies alone.
func TestLocator(t *testing.T) {
	l := NewLocator([]netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104")})
	tests := map[string]struct {
		peer, xff   string
		want        string
		wantProxied bool
	}{
		"no proxy":                          {"203.0.113.9:1", "", "203.0.113.9", false},
		"untrusted peer with forged header": {"203.0.113.9:1", "1.1.1.1", "203.0.113.9", false},
		"one proxy":                         {"10.0.0.1:1", "1.1.1.1, 203.0.113.9", "203.0.113.9", true},
		"a proxy without header":            {"10.0.0.1:1", "", "invalid IP", true},
		"only proxies":                      {"10.0.0.1:1", "10.0.0.2", "invalid IP", true},
		"garbage":                           {"[::ffff:10.0.0.1]:1", "x", "invalid IP", true},
		"no peer":                           {"@", "1.1.1.1", "invalid IP", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = tt.peer
			r.Header["X-Forwarded-For"] = []string{tt.xff}
			got, proxied := l.Client(r)
			if got.String() != tt.want || proxied != tt.wantProxied || r.Header.Get("X-Forwarded-For") != tt.xff {
				t.Errorf("got %s, %t; want %s, %t", got, proxied, tt.want, tt.wantProxied)
			}
		})
	}
}

func TestForwardingHeaders(t *testing.T) {
	sent := func() http.Header {
		return http.Header{
			"X-Forwarded-Host": {"evil"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Port": {"1"}, "Forwarded": {"for=1.1.1.1"},
			"X-Real-Ip": {"1.1.1.1"}, "X-Script-Name": {"/public"}, "True-Client-Ip": {"1.1.1.1"}, "Cf-Connecting-Ip": {"1.1.1.1"}, "X_forwarded_for": {"1.1.1.1"},
			"X-Forwarded-Client-Cert": {"x"}, "Accept": {"a"},
		}
	}
	_, header := locate(t, "203.0.113.9:1", sent())
	want := http.Header{
		"Accept": {"a"}, "X-Forwarded-For": {"203.0.113.9"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"shop.example"},
	}
	if len(header) != len(want) {
		t.Errorf("from an untrusted peer the app sees %v; want %v", header, want)
	}
	for name := range want {
		if !slices.Equal(header[name], want[name]) {
			t.Errorf("%s: %q; want %q", name, header[name], want[name])
		}
	}
	_, header = locate(t, "10.0.0.1:1", sent())
	if header["X_forwarded_for"] != nil {
		t.Error("a variant of X-Forwarded-For from a trusted peer was kept")
	}
	for name, values := range sent() {
		if !isVariant(name) && !slices.Equal(header[name], values) {
			t.Errorf("from a trusted peer %s is %q; want %q", name, header[name], values)
		}
	}
}

func TestScheme(t *testing.T) {
	tests := map[string]struct {
		peer      string
		proto     []string
		want      string
		wantProto string
	}{
		"unknown":                       {peer: "203.0.113.9:1", wantProto: "http"},
		"untrusted peer":                {peer: "203.0.113.9:1", proto: []string{"http"}, wantProto: "http"},
		"proxy sends http":              {peer: "10.0.0.1:1", proto: []string{"http"}, want: "http", wantProto: "http"},
		"proxy sends HTTPS":             {peer: "10.0.0.1:1", proto: []string{"HTTPS"}, want: "https", wantProto: "HTTPS"},
		"proxies send both":             {peer: "10.0.0.1:1", proto: []string{"https, http"}, want: "https", wantProto: "https, http"},
		"proxy sends an invalid scheme": {peer: "10.0.0.1:1", proto: []string{"gopher"}, wantProto: "gopher"},
		"proxy sends nothing":           {peer: "10.0.0.1:1", wantProto: "http"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			info, header := locate(t, tt.peer, http.Header{"X-Forwarded-Proto": tt.proto})
			if info.Scheme != tt.want || header.Get("X-Forwarded-Proto") != tt.wantProto {
				t.Errorf("scheme %q, the app sees %q; want %q, %q", info.Scheme, header.Get("X-Forwarded-Proto"), tt.want, tt.wantProto)
			}
		})
	}
}

func TestUnknownPeer(t *testing.T) {
	h := New(Config{})(stage.Func(func(http.ResponseWriter, *http.Request) error {
		t.Error("a request without a peer address passed")
		return nil
	}))
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "@"
	if err := h.ServeHTTP(httptest.NewRecorder(), r); err == nil {
		t.Error("no error")
	}
}

func FuzzWalk(f *testing.F) {
	for _, seed := range []string{"", "1.1.1.1", "10.0.0.1, [::1]:80,", "10.0.0.1,10.0.0.2", "[fe80::1%x]", "::ffff:10.0.0.1, x"} {
		f.Add(seed, seed)
	}
	l := &locator{trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	peer := netip.MustParseAddr("10.0.0.1")
	f.Fuzz(func(t *testing.T, a, b string) {
		client, verified := l.walk(peer, []string{a, b})
		if !client.IsValid() || client.Is4In6() || client.Zone() != "" {
			t.Fatalf("the client is %v", client)
		}
		again, same := l.walk(peer, []string{verified})
		if verified != "" && (again != client || same != verified) {
			t.Fatalf("%q of %q, %q is read as %v, %q; want %v", verified, a, b, again, same, client)
		}
	})
}

func TestUntrustedProxies(t *testing.T) {
	tests := map[string]struct {
		peer   string
		header http.Header
		want   string
	}{
		"a proxy that is not trusted":      {peer: "192.0.2.7:1", header: http.Header{"X-Forwarded-For": {"1.1.1.1"}}, want: "192.0.2.7"},
		"only the scheme":                  {peer: "[2001:db8::1]:1", header: http.Header{"X-Forwarded-Proto": {"https"}}, want: "2001:db8::1"},
		"RFC 7239":                         {peer: "192.0.2.7:1", header: http.Header{"Forwarded": {"for=1.1.1.1"}}, want: "192.0.2.7"},
		"a trusted proxy":                  {peer: "10.0.0.1:1", header: http.Header{"X-Forwarded-For": {"1.1.1.1"}}},
		"a client without a proxy":         {peer: "192.0.2.7:1", header: http.Header{"X-Real-Ip": {"1.1.1.1"}}},
		"a client with a variant spelling": {peer: "192.0.2.7:1", header: http.Header{"X_forwarded_for": {"1.1.1.1"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := ""
			s := New(Config{
				Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Untrusted: func(peer netip.Addr) { got += peer.String() },
			})
			r := httptest.NewRequest("GET", "http://shop.example/", nil)
			r.RemoteAddr, r.Header = tt.peer, tt.header
			h := s(stage.Func(func(http.ResponseWriter, *http.Request) error { return nil }))
			if err := h.ServeHTTP(httptest.NewRecorder(), request.With(r, &request.Info{})); err != nil || got != tt.want {
				t.Errorf("%q is reported, %v; want %q", got, err, tt.want)
			}
		})
	}
}

// TestTokenHeadersAreKept keeps the header that authentication reads, and drops variants of its name, from any peer.
func TestTokenHeadersAreKept(t *testing.T) {
	for _, peer := range []string{"203.0.113.9:1", "10.0.0.1:1"} {
		_, header := locate(t, peer, http.Header{"X-Forwarded-Jwt": {"a"}, "X_forwarded_jwt": {"b"}})
		if !slices.Equal(header["X-Forwarded-Jwt"], []string{"a"}) || header["X_forwarded_jwt"] != nil {
			t.Errorf("from %s authentication sees %v", peer, header)
		}
	}
}
