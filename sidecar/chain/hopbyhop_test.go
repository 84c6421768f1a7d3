package chain

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/posterndev/postern/api/compiled"
)

// door serves p in front of app as the sidecar's process does: behind the framing filter, with HTTP/1.1 and HTTP/2. It returns
// its address.
func door(t *testing.T, p *compiled.Policy, app http.Handler) string {
	t.Helper()
	c := config(t, newShared(t))
	c.App = proxyTo(t, app)
	snapshot, err := Build(p, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(snapshot.Close)
	return front(t, snapshot)
}

func bothVersions() *http.Protocols {
	p := &http.Protocols{}
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

// relying is a policy whose rules rely on fields that a client or a proxy sends.
func relying(i issuer) *compiled.Policy {
	p := policy(i)
	p.Sidecar.TrustedProxies = []string{"127.0.0.1/32"}
	p.Providers[0].From = []compiled.TokenLocation{{Header: "Authorization", Prefix: "Bearer "}, {Header: "X-Api-Token"}}
	p.Providers[0].ForwardToken = true
	p.RateLimits[1].KeyBy = []compiled.RateLimitKey{{Type: compiled.KeyHeader, Name: "X-Tenant"}}
	return p
}

// TestConnectionRemovesNothingReliedOn: each of the fields reaches its rule and the app, whatever Connection names. In an
// earlier version Connection: X-Forwarded-For removed the field that the trusted proxy had set.
func TestConnectionRemovesNothingReliedOn(t *testing.T) {
	i := newIssuer(t)
	addr := door(t, relying(i), echo)
	bearer := "Bearer " + i.token(t, "ada")
	tests := map[string]struct {
		name, value string
		path        string
		// want is the field as the app sees it; it defaults to value. unseen means that the app does not see the field.
		want   string
		unseen bool
	}{
		"the client's address":            {name: "X-Forwarded-For", value: "203.0.113.9", want: "203.0.113.9, 127.0.0.1"},
		"the client's scheme":             {name: "X-Forwarded-Proto", value: "https"},
		"the client's host":               {name: "X-Forwarded-Host", value: "shop.example.com"},
		"a proxy's own field":             {name: "X-Real-Ip", value: "203.0.113.9"},
		"a proxy's certificate":           {name: "X-Client-Cert", value: "abc"},
		"Forwarded":                       {name: "Forwarded", value: "for=203.0.113.9"},
		"the credential":                  {name: "Authorization", value: bearer, path: "/orders"},
		"a credential in another field":   {name: "X-Api-Token", value: strings.TrimPrefix(bearer, "Bearer "), path: "/orders"},
		"cookies":                         {name: "Cookie", value: "a=b"},
		"a rate limit key":                {name: "X-Tenant", value: "blue"},
		"the origin":                      {name: "Origin", value: "https://app.example.com"},
		"fetch metadata":                  {name: "Sec-Fetch-Site", value: "cross-site"},
		"the content's type":              {name: "Content-Type", value: "application/json"},
		"a trace":                         {name: "Traceparent", value: "00-1"},
		"an identity header":              {name: "X-Auth-Subject", value: "eve", unseen: true},
		"a reserved field":                {name: "Postern-Subject", value: "eve", unseen: true},
		"a hop-by-hop field":              {name: "X-Hop", value: "1", unseen: true},
		"Keep-Alive":                      {name: "Keep-Alive", value: "timeout=5", unseen: true},
		"a proxy's password":              {name: "Proxy-Authorization", value: "Basic eDp5", unseen: true},
		"Proxy-Connection":                {name: "Proxy-Connection", value: "close", unseen: true},
		"an underscore in the name":       {name: "Transfer_Encoding", value: "chunked", unseen: true},
		"TE with a coding":                {name: "TE", value: "gzip", unseen: true},
		"HTTP/2 settings":                 {name: "HTTP2-Settings", value: "AAMAAABkAAQAoAAAAAIAAAAA", unseen: true},
		"an upgrade to HTTP/2":            {name: "Upgrade", value: "h2c", unseen: true},
		"an upgrade to TLS":               {name: "Upgrade", value: "TLS/1.0", unseen: true},
		"an incomplete WebSocket upgrade": {name: "Upgrade", value: "websocket", unseen: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.path == "" {
				tt.path = "/public/x"
			}
			got := rawTo(t, addr, fmt.Sprintf("GET %s HTTP/1.1\r\nHost: x\r\n%s: %s\r\nConnection: close, %s\r\n\r\n", tt.path, tt.name, tt.value, strings.ToLower(tt.name)))
			if got.StatusCode != http.StatusOK {
				t.Fatalf("status %d", got.StatusCode)
			}
			var seen struct{ Header http.Header }
			if err := json.NewDecoder(got.Body).Decode(&seen); err != nil {
				t.Fatal(err)
			}
			want := tt.want
			if want == "" && !tt.unseen {
				want = tt.value
			}
			if value := strings.Join(seen.Header[http.CanonicalHeaderKey(tt.name)], "|"); value != want {
				t.Errorf("the app sees %s: %q; want %q", tt.name, value, want)
			}
			if seen.Header["Connection"] != nil {
				t.Errorf("the app sees Connection %q", seen.Header["Connection"])
			}
		})
	}
}

// TestIdentityOutlivesConnection: the client's Connection field does not remove what authentication sets.
func TestIdentityOutlivesConnection(t *testing.T) {
	i := newIssuer(t)
	addr := door(t, policy(i), echo)
	got := rawTo(t, addr, "GET /orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+i.token(t, "ada")+"\r\nConnection: close, X-Auth-Subject, authorization\r\n\r\n")
	body, _ := io.ReadAll(got.Body)
	if got.StatusCode != http.StatusOK || !strings.Contains(string(body), `"X-Auth-Subject":["ada"]`) {
		t.Errorf("%d %s", got.StatusCode, body)
	}
}

// rawTo sends text and returns the response.
func rawTo(t *testing.T, addr, text string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	got, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestWebSocketsPassTheChain(t *testing.T) {
	i := newIssuer(t)
	addr := door(t, policy(i), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			t.Errorf("accepting: %v", err)
			return
		}
		defer c.CloseNow()
		kind, b, err := c.Read(r.Context())
		if err == nil {
			_ = c.Write(r.Context(), kind, append(b, r.Header.Get("X-Auth-Subject")...))
		}
	}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+addr+"/orders", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + i.token(t, "ada")}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if err := c.Write(ctx, websocket.MessageText, []byte("hello ")); err != nil {
		t.Fatal(err)
	}
	if _, b, err := c.Read(ctx); err != nil || string(b) != "hello ada" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestTrailersPassTheChain: with HTTP/1.1 and HTTP/2 the app sees TE: trailers and the trailers.
func TestTrailersPassTheChain(t *testing.T) {
	addr := door(t, policy(newIssuer(t)), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%s te=%q sum=%q for=%q", r.Proto, r.Header["Te"], r.Trailer["X-Sum"], r.Trailer["X-Forwarded-For"])
	}))
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			protocols := &http.Protocols{}
			protocols.SetHTTP1(proto == "HTTP/1.1")
			protocols.SetUnencryptedHTTP2(proto == "HTTP/2.0")
			client := &http.Transport{Protocols: protocols}
			defer client.CloseIdleConnections()
			r, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+addr+"/public/x", io.NopCloser(strings.NewReader("body")))
			if err != nil {
				t.Fatal(err)
			}
			r.ContentLength = -1
			r.Header.Set("TE", "trailers")
			r.Trailer = http.Header{"X-Sum": {"42"}, "X-Forwarded-For": {"1.1.1.1"}}
			res, err := client.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, _ := io.ReadAll(res.Body)
			if want := proto + ` te=["trailers"] sum=["42"] for=[]`; string(body) != want {
				t.Errorf("the app saw %s; want %s", body, want)
			}
		})
	}
}

// TestTrailersOfReliedOnFields: a token or a limit's key in a trailer has met no rule, so it does not reach the app.
func TestTrailersOfReliedOnFields(t *testing.T) {
	trailers := make(chan http.Header, 1)
	addr := door(t, relying(newIssuer(t)), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		trailers <- r.Trailer
	}))
	rawTo(t, addr, "POST /public/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: X-Api-Token, X-Tenant, X-Sum\r\n\r\n"+
		"1\r\na\r\n0\r\nX-Api-Token: forged\r\nX-Tenant: other\r\nX-Sum: 42\r\n\r\n")
	if got := fmt.Sprint(<-trailers); got != "map[X-Sum:[42]]" {
		t.Errorf("the app sees the trailers %s; want X-Sum alone", got)
	}
}
