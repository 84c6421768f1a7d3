package reqbody_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/reqbody"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/stages/hopbyhop"
	"github.com/posterndev/postern/sidecar/stages/upstream"
)

// mode says what a rule does with a body that it cannot read.
type mode bool

const enforce, shadow mode = false, true

// gate starts a server that reads a password of up to 64 bytes before the app gets the request, and returns its address and
// what the rule saw.
func gate(t *testing.T, m mode) (addr string, seen <-chan string) {
	t.Helper()
	app := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%q %d %v te=%q expect=%q sum=%q", body, r.ContentLength, err, r.TransferEncoding, r.Header["Expect"], r.Trailer["X-Sum"])
	}))
	proxy, err := upstream.New(upstream.Config{Target: func(netip.AddrPort) string { return app }, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	found := make(chan string, 10)
	rule := func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			password, err := field(r)
			if found <- password; err != nil && m == enforce {
				return err
			}
			return next.ServeHTTP(w, r)
		})
	}
	chain := stage.Chain(proxy, hopbyhop.New(nil), rule)
	return newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := chain.ServeHTTP(w, r); err != nil {
			httperr.Write(w, r, err)
		}
	})), found
}

func field(r *http.Request) (string, error) {
	body, err := reqbody.Read(r, reqbody.Limits{Bytes: 64})
	if err != nil {
		return "", err
	}
	password, _, err := body.Field(reqbody.Selector{JSON: []string{"password"}, Form: "password"})
	return password, err
}

func newServer(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = protocols(1, 2)
	s.Start()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.Listener.Addr().String()
}

func protocols(versions ...int) *http.Protocols {
	p := &http.Protocols{}
	for _, version := range versions {
		p.SetHTTP1(p.HTTP1() || version == 1)
		p.SetUnencryptedHTTP2(p.UnencryptedHTTP2() || version == 2)
	}
	return p
}

// TestAppGetsTheSameBody sends requests through a rule that reads their bodies and through the proxy.
func TestAppGetsTheSameBody(t *testing.T) {
	const json, form = "Content-Type: application/json\r\n", "Content-Type: application/x-www-form-urlencoded\r\n"
	large := strings.Repeat("x", 100)
	tests := map[string]struct {
		mode mode
		// head and body are what the client sends; the body after 100 Continue if wait is set. A body
		// that is cut has no end.
		head, body   string
		wait, cut    bool
		wantPassword string
		wantStatus   int
		// want is the start of what the app sees, or a part of the refusal.
		want string
	}{
		"a form": {head: form + "Content-Length: 10\r\n", body: "password=s", wantPassword: "s", want: `"password=s" 10 <nil> te=[]`},
		"JSON":   {head: json + "Content-Length: 16\r\n", body: `{"password":"s"}`, wantPassword: "s", want: `"{\"password\":\"s\"}" 16 <nil> te=[]`},
		"chunks": {head: form + "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n", body: "4\r\npass\r\n6\r\nword=s\r\n0\r\nX-Sum: 42\r\n\r\n", wantPassword: "s",
			want: `"password=s" -1 <nil> te=["chunked"] expect=[] sum=["42"]`},
		"a body after 100 Continue": {head: form + "Content-Length: 10\r\nExpect: 100-continue\r\n", body: "password=s", wait: true, wantPassword: "s",
			want: `"password=s" 10 <nil> te=[] expect=[]`},
		"no body":                            {head: "", want: `"" 0 <nil>`},
		"a body of another type":             {head: "Content-Type: text/plain\r\nContent-Length: 1\r\n", body: "x", wantStatus: 415, want: "unsupported-body"},
		"a body of another type, in shadow":  {mode: shadow, head: "Content-Type: text/plain\r\nContent-Length: 1\r\n", body: "x", want: `"x" 1 <nil>`},
		"too large by its length":            {head: form + "Content-Length: 100\r\n", body: large, wantStatus: 413, want: "body-too-large"},
		"too large by its length, in shadow": {mode: shadow, head: form + "Content-Length: 100\r\n", body: large, want: `"` + large + `" 100 <nil>`},
		"too large, not sent":                {head: form + "Content-Length: 100\r\nExpect: 100-continue\r\n", wantStatus: 413, want: "body-too-large"},
		"too large, waited for, in shadow":   {mode: shadow, head: form + "Content-Length: 100\r\nExpect: 100-continue\r\n", body: large, wait: true, want: `"` + large + `" 100 <nil> te=[] expect=["100-continue"]`},
		"too large in chunks":                {head: form + "Transfer-Encoding: chunked\r\n", body: "64\r\n" + large + "\r\n0\r\n\r\n", wantStatus: 413, want: "body-too-large"},
		"too large in chunks, in shadow":     {mode: shadow, head: form + "Transfer-Encoding: chunked\r\n", body: "64\r\n" + large + "\r\n0\r\n\r\n", want: `"` + large + `" -1 <nil> te=["chunked"]`},
		"malformed":                          {head: json + "Content-Length: 1\r\n", body: "{", wantStatus: 400, want: "malformed-body"},
		"cut short":                          {head: form + "Content-Length: 10\r\n", body: "pass", cut: true, wantStatus: 400, want: "bad-body"},
		"an invalid chunk":                   {head: form + "Transfer-Encoding: chunked\r\n", body: "zz\r\n", wantStatus: 400, want: "bad-body"},
		"an invalid chunk, in shadow":        {mode: shadow, head: form + "Transfer-Encoding: chunked\r\n", body: "4\r\npass\r\nzz\r\n", wantStatus: 400, want: "bad-body"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			addr, seen := gate(t, tt.mode)
			status, text := exchange(t, addr, "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+tt.head+"\r\n", tt.body, tt.wait, tt.cut)
			if tt.wantStatus == 0 {
				tt.wantStatus = http.StatusOK
			}
			if status != tt.wantStatus || !strings.Contains(text, tt.want) {
				t.Errorf("%d %s; want %d %s", status, text, tt.wantStatus, tt.want)
			}
			if got := <-seen; got != tt.wantPassword {
				t.Errorf("the rule saw %q; want %q", got, tt.wantPassword)
			}
		})
	}
}

// exchange sends head and body, after 100 Continue if wait is set, and returns the final response. If cut is set, it
// closes its half after the body.
func exchange(t *testing.T, addr, head, body string, wait, cut bool) (status int, text string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	reader := bufio.NewReader(conn)
	_, _ = io.WriteString(conn, head)
	if wait {
		if res, err := http.ReadResponse(reader, nil); err != nil || res.StatusCode != http.StatusContinue {
			t.Fatalf("%+v, %v; want 100", res, err)
		}
	}
	_, _ = io.WriteString(conn, body)
	if cut {
		_ = conn.(*net.TCPConn).CloseWrite()
	}
	res, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(all)
}

func TestAppGetsTheSameBodyInHTTP2(t *testing.T) {
	for _, length := range []int64{10, -1} {
		addr, seen := gate(t, enforce)
		r, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+addr, io.NopCloser(strings.NewReader("password=s")))
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength, r.Trailer = length, http.Header{"X-Sum": {"42"}}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		client := &http.Transport{Protocols: protocols(2)}
		res, err := client.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		client.CloseIdleConnections()
		if want := fmt.Sprintf(`"password=s" %d <nil> te=[] expect=[] sum=["42"]`, length); string(body) != want || <-seen != "s" {
			t.Errorf("the app saw %s; want %s", body, want)
		}
	}
}
