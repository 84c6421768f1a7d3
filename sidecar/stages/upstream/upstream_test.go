package upstream

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

func TestConfigValidate(t *testing.T) {
	target := func(netip.AddrPort) string { return "127.0.0.1:1" }
	tests := map[string]struct {
		cfg     Config
		wantErr string
	}{
		"no target":        {cfg: Config{Logger: slog.Default()}, wantErr: "Target"},
		"no logger":        {cfg: Config{Target: target}, wantErr: "Logger"},
		"negative timeout": {cfg: Config{Target: target, Logger: slog.Default(), Timeouts: Timeouts{Idle: -1}}, wantErr: "negative"},
		"complete":         {cfg: Config{Target: target, Logger: slog.Default()}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := New(tt.cfg)
			if tt.wantErr == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("error %v, want one with %q", err, tt.wantErr)
			}
		})
	}
}

// TestRequestIsForwardedAsItIs: the app must get the request line that the rules checked, in the client's protocol version.
func TestRequestIsForwardedAsItIs(t *testing.T) {
	tests := map[string]struct{ method, target, host string }{
		"plain":                {method: "GET", target: "/a/b?x=1"},
		"encoded path":         {method: "GET", target: "/a%20b/%C3%A9/%2e?x"},
		"encoded slash":        {method: "GET", target: "/a%2Fb"},
		"double slash":         {method: "GET", target: "//a//b"},
		"unparsable query":     {method: "GET", target: "/?a=1;b=2&%zz&c"},
		"empty query":          {method: "GET", target: "/a?"},
		"plus and percent":     {method: "GET", target: "/a+b?q=a+b%2B"},
		"options":              {method: "OPTIONS", target: "/x"},
		"delete":               {method: "DELETE", target: "/x"},
		"an unknown method":    {method: "PURGE", target: "/x"},
		"another host":         {method: "GET", target: "/", host: "shop.example.com:8443"},
		"colon in first piece": {method: "GET", target: "/a:b/c"},
	}
	d := doorTo(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s %s ua=%q ae=%q", r.Method, r.RequestURI, r.Host, r.Proto, r.Header["User-Agent"], r.Header["Accept-Encoding"])
	})
	for name, tt := range tests {
		for version, proto := range map[int]string{1: "HTTP/1.1", 2: "HTTP/2.0"} {
			t.Run(fmt.Sprintf("%s over %s", name, proto), func(t *testing.T) {
				r := request1(t, tt.method, "http://"+d.addr+tt.target, nil)
				r.Host = tt.host
				r.Header["User-Agent"] = []string{""}
				_, body := do(t, client(t, version), r)
				host := tt.host
				if host == "" {
					host = d.addr
				}
				if want := fmt.Sprintf("%s %s %s %s ua=[] ae=[]", tt.method, tt.target, host, proto); body != want {
					t.Errorf("app saw %q, want %q", body, want)
				}
			})
		}
	}
}

func TestHead(t *testing.T) {
	d := doorTo(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "12345") })
	for _, version := range []int{1, 2} {
		res, body := do(t, client(t, version), request1(t, "HEAD", "http://"+d.addr+"/", nil))
		if res.StatusCode != 200 || res.ContentLength != 12345 || body != "" {
			t.Errorf("version %d: %d, length %d, body %q", version, res.StatusCode, res.ContentLength, body)
		}
	}
}

func TestConnectIsRefused(t *testing.T) {
	d := doorTo(t, func(http.ResponseWriter, *http.Request) { t.Error("the app saw CONNECT") })
	if got := raw(t, d.addr, "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 501 ") {
		t.Errorf("response %q", got)
	}
}

// TestStagesFieldsSurvive: fields of earlier stages reach the app, whatever the client writes into Connection.
func TestStagesFieldsSurvive(t *testing.T) {
	set := func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			r.Header.Set("X-Auth-Subject", "ada")
			r.Header.Set("X-Forwarded-For", "192.0.2.7")
			r.Header.Set("X-Forwarded-Proto", "https")
			r.Header.Set("X-Forwarded-Host", "shop.example.com")
			r.Header.Set("Forwarded", "for=192.0.2.7")
			return next.ServeHTTP(w, r)
		})
	}
	d := doorTo(t, func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"X-Auth-Subject", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "X-Secret", "Connection", "Keep-Alive"} {
			fmt.Fprintf(w, "%s=%s\n", name, r.Header.Get(name))
		}
	}, set)
	got := raw(t, d.addr, "GET / HTTP/1.1\r\nHost: x\r\nX-Secret: 1\r\nX-Auth-Subject: eve\r\nKeep-Alive: 5\r\n"+
		"Connection: close, X-Auth-Subject, X-Forwarded-For, Forwarded, x-secret, X-Forwarded-Proto, X-Forwarded-Host\r\n\r\n")
	for _, want := range []string{
		"X-Auth-Subject=ada\n", "X-Forwarded-For=192.0.2.7\n", "X-Forwarded-Proto=https\n", "X-Forwarded-Host=shop.example.com\n",
		"Forwarded=for=192.0.2.7\n", "X-Secret=\n", "Connection=\n", "Keep-Alive=\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
}

func TestResponseHeader(t *testing.T) {
	d := doorTo(t, func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["Content-Type"] = nil
		h.Set("Postern-Session", "forged")
		h["postern-lower"] = []string{"forged"}
		h.Set("Connection", "X-Hop")
		h.Set("X-Hop", "1")
		h.Set("Keep-Alive", "timeout=9")
		h["Set-Cookie"] = []string{"a=1", "b=2"}
		_, _ = io.WriteString(w, "<html>")
	})
	res, _ := do(t, client(t, 1), request1(t, "GET", "http://"+d.addr+"/", nil)) // HTTP/2 has no connection fields
	for _, name := range []string{"Postern-Session", "Postern-Lower", "X-Hop", "Keep-Alive", "Content-Type"} {
		if v, ok := res.Header[name]; ok {
			t.Errorf("%s: %q reached the client", name, v)
		}
	}
	if got := res.Header["Set-Cookie"]; len(got) != 2 {
		t.Errorf("Set-Cookie %q", got)
	}
}

// TestReservedFieldsAreHandedOver: reserved fields of the app are in the request's Info, and not in the response.
func TestReservedFieldsAreHandedOver(t *testing.T) {
	app := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Postern-Early", "no")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Postern-Early")
		w.Header()["postern-subject"] = []string{"user-42"}
		w.Header().Add("Postern-Subject", "user-43")
	}))
	info := &request.Info{}
	d := open(t, app, nil, func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error { return next.ServeHTTP(w, request.With(r, info)) })
	})
	res, _ := do(t, client(t, 1), request1(t, "GET", "http://"+d.addr+"/", nil))
	if got := len(info.AppFields["Postern-Subject"]); got != 2 || len(info.AppFields) != 1 {
		t.Errorf("the Info has %v", info.AppFields)
	}
	if _, ok := res.Header["Postern-Subject"]; ok {
		t.Error("the client got Postern-Subject")
	}
}

func TestTargetIsChosenByLocalAddress(t *testing.T) {
	app := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "found") }))
	local := netip.MustParseAddrPort("10.0.0.5:8080")
	know := func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			return next.ServeHTTP(w, request.With(r, &request.Info{Local: local}))
		})
	}
	d := open(t, "", func(c *Config) {
		c.Target = func(got netip.AddrPort) string {
			if got != local {
				return "127.0.0.1:1"
			}
			return app
		}
	}, know)
	if _, body := do(t, client(t, 1), request1(t, "GET", "http://"+d.addr+"/", nil)); body != "found" {
		t.Errorf("body %q", body)
	}
}

// TestCloseIsHarmlessToRequests: Close ends what a server's Shutdown leaves open, but no request in flight.
func TestCloseIsHarmlessToRequests(t *testing.T) {
	d := doorTo(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	d.proxy.Close()
	if _, body := do(t, client(t, 1), request1(t, "GET", "http://"+d.addr+"/", nil)); body != "ok" {
		t.Errorf("body %q", body)
	}
}

func BenchmarkProxy(b *testing.B) {
	app := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }), ReadHeaderTimeout: time.Second}
	addr := listen(b, &app)
	p, err := New(Config{Target: func(netip.AddrPort) string { return addr }, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	r, err := http.NewRequest("GET", "http://x/", nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := p.ServeHTTP(&nothing{header: http.Header{}}, r); err != nil {
			b.Fatal(err)
		}
	}
}
