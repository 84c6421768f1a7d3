package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/reqbody"
)

const waitLimit = 20 * time.Second

// serve runs handler on an inspected loopback listener, and returns its address and the number of refusals.
func serve(t *testing.T, config Config, handler http.Handler) (addr string, refusals *atomic.Int32) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusals = &atomic.Int32{}
	config.OnRefuse = func(net.Conn, *httperr.Error) { refusals.Add(1) }
	if config.Handler = handler; config.HTTP2 != nil {
		config.HTTP2.Handler = handler
	}
	config.Poison = true
	server, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(inner)
	t.Cleanup(func() { server.Close() })
	return inner.Addr().String(), refusals
}

// second returns a server for HTTP/2.
func second() *http.Server {
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{ConnContext: ConnContext, Protocols: protocols, ReadHeaderTimeout: waitLimit}
}

// exchange sends input in one write and returns everything that it receives.
func exchange(t *testing.T, addr, input string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(waitLimit))
	if _, err := io.WriteString(conn, input); err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("reading response: %v (after %q)", err, out)
	}
	return string(out)
}

// echo responds with the request's body.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		httperr.Write(w, r, err)
		return
	}
	w.Write(body)
}

// TestCloseBeforeServe: a server that is closed before it begins to serve leaves no port open.
func TestCloseBeforeServe(t *testing.T) {
	server, err := New(Config{Handler: http.NotFoundHandler()})
	if err != nil {
		t.Fatal(err)
	}
	_ = server.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", l.Addr().String()); err == nil {
		_ = conn.Close()
		t.Error("the port is still open")
	}
}

func TestServerRefuses(t *testing.T) {
	const closing = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	chunked := post + "Transfer-Encoding: chunked\r\n\r\n"
	tests := map[string]struct {
		input        string
		wantServed   int32
		wantStatuses []int
		wantCode     string
	}{
		"well-formed":                     {closing, 1, []int{200}, ""},
		"CL.TE":                           {post + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX", 0, []int{400}, "length-and-coding"},
		"smuggled after a valid request":  {get + post + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello" + get, 1, []int{200, 400}, "duplicate-content-length"},
		"garbage after a valid request":   {get + "\x00\x01\x02" + get, 1, []int{200, 400}, "malformed-request-line"},
		"bare LF":                         {"GET / HTTP/1.1\nHost: a\n\n", 0, []int{400}, "bare-line-end"},
		"bad chunk":                       {chunked + "5\r\nhello\r\n1_0\r\n", 0, []int{400}, "malformed-chunk-size"},
		"bad chunk after a valid request": {get + chunked + "5\r\nhelloX", 1, []int{200, 400}, "malformed-chunk-end"},
		"a broken escape":                 {"GET /a%zz HTTP/1.1\r\nHost: a\r\n\r\n", 0, []int{400}, "bad-path"},
		"an escape that is cut":           {"GET /a%4 HTTP/1.1\r\nHost: a\r\n\r\n", 0, []int{400}, "bad-path"},
		"a broken escape, absolute":       {"GET http://a/%zz HTTP/1.1\r\nHost: a\r\n\r\n", 0, []int{400}, "bad-path"},
		"a broken escape in a query":      {"GET /a?%zz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 1, []int{200}, ""},
		"a target that is no path":        {"GET ! HTTP/1.1\r\nHost: a\r\n\r\n", 0, []int{400}, "bad-target"},
		"a relative target":               {"GET a/b HTTP/1.1\r\nHost: a\r\n\r\n", 0, []int{400}, "bad-target"},
		"half a scheme":                   {"GET http: HTTP/1.1\r\nHost: a\r\n\r\n", 0, []int{400}, "bad-target"},
		"another scheme":                  {"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 0, []int{400}, "bad-target"},
		"an asterisk and more":            {"OPTIONS *a HTTP/1.1\r\nHost: a\r\n\r\n", 0, []int{400}, "bad-target"},
		"absolute":                        {"GET HTTPS://a/b%2f HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 1, []int{200}, ""},
		"two hosts in one":                {"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 0, []int{400}, "bad-host"},
		"a host that is none":             {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 0, []int{400}, "bad-host"},
		"a host with space around it":     {"GET / HTTP/1.1\r\nHost:  a:80 \r\nConnection: close\r\n\r\n", 1, []int{200}, ""},
		"CONNECT":                         {"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 0, []int{405}, "method-not-allowed"},
		"CONNECT to no host":              {"CONNECT a%zz HTTP/1.1\r\nHost: a\r\n\r\n", 0, []int{405}, "method-not-allowed"},
		"a port that is none":             {"GET http://a:b/ HTTP/1.1\r\nHost: a\r\n\r\n", 0, []int{400}, "bad-target"},
		"two ports":                       {"GET http://a:1:2/ HTTP/1.1\r\nHost: a\r\n\r\n", 0, []int{400}, "bad-target"},
		"half an IPv6 address":            {"GET http://[::1/ HTTP/1.1\r\nHost: a\r\n\r\n", 0, []int{400}, "bad-target"},
		"an open bracket alone":           {"GET http://[ HTTP/1.1\r\nHost: a\r\n\r\n", 0, []int{400}, "bad-target"},
		"no IPv6 address":                 {"GET http://[1:2]/ HTTP/1.1\r\nHost: a\r\n\r\n", 0, []int{400}, "bad-target"},
		"an escape in a host":             {"GET http://a%41/ HTTP/1.1\r\nHost: a\r\n\r\n", 0, []int{400}, "bad-target"},
		"a user name":                     {"GET http://u<:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 0, []int{400}, "bad-target"},
		"an IPv6 address":                 {"GET http://[::1]:80/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 1, []int{200}, ""},
		"a host and a query":              {"GET http://a:80?b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 1, []int{200}, ""},
		"another expectation":             {"GET / HTTP/1.1\r\nHost: a\r\nExpect: magic\r\n\r\n", 0, []int{417}, "expectation"},
		"half an expectation":             {"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-\r\n\r\n", 0, []int{417}, "expectation"},
		"two expectations":                {"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nExpect: magic\r\n\r\n", 0, []int{417}, "expectation"},
		"an empty expectation":            {"GET / HTTP/1.1\r\nHost: a\r\nExpect:\r\nConnection: close\r\n\r\n", 1, []int{200}, ""},
		"the expectation in capitals":     {"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue \r\nConnection: close\r\n\r\n", 1, []int{200}, ""},
		"a forbidden trailer announced":   {post + "Trailer: x, Content-Length \r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, []int{400}, "forbidden-trailer"},
		"trailers announced":              {post + "Trailer: x content-length,  Y\r\nTrailer: Z\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 1, []int{200}, ""},
		"head too large":                  {"GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 70<<10), 0, []int{431}, "head-too-large"},
		"preface without HTTP/2":          {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0, []int{505}, "http-version"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var served atomic.Int32
			addr, refusals := serve(t, Config{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				served.Add(1)
				echo(w, r)
			}))
			reader := bufio.NewReader(strings.NewReader(exchange(t, addr, tt.input)))
			for _, want := range tt.wantStatuses {
				response, err := http.ReadResponse(reader, nil)
				if err != nil || response.StatusCode != want {
					t.Fatalf("response %+v, %v, want status %d", response, err, want)
				}
				body, _ := io.ReadAll(response.Body)
				if want < 400 {
					continue
				}
				var problem struct{ Type string }
				if err := json.Unmarshal(body, &problem); err != nil || problem.Type != httperr.TypePrefix+tt.wantCode {
					t.Errorf("body %q (%v), want type %s", body, err, tt.wantCode)
				}
				if !response.Close || response.Header.Get("Content-Type") != "application/problem+json" {
					t.Errorf("headers %v", response.Header)
				}
			}
			if rest, _ := io.ReadAll(reader); len(rest) > 0 {
				t.Errorf("unexpected further bytes: %q", rest)
			}
			if got := served.Load(); got != tt.wantServed {
				t.Errorf("%d requests served, want %d", got, tt.wantServed)
			}
			if got := refusals.Load(); (got == 1) != (tt.wantCode != "") {
				t.Errorf("%d refusals counted", got)
			}
		})
	}
}

// TestArrived: a body says that it has arrived only if reading it to its end waits for nothing, and says it also after a part was read.
func TestArrived(t *testing.T) {
	const last = post + "Connection: close\r\n"
	tests := map[string]struct {
		input, late string
		want        bool
	}{
		"all":                   {last + "Content-Length: 5\r\n\r\nhello", "", true},
		"all, and more follows": {post + "Content-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "", true},
		"a part":                {last + "Content-Length: 5\r\n\r\nhell", "o", false},
		"nothing":               {last + "Content-Length: 5\r\n\r\n", "hello", false},
		"chunks":                {last + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			asked := make(chan struct{})
			addr, _ := serve(t, Config{}, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					return
				}
				before := reqbody.Arrived(r.Body)
				close(asked)
				if _, err := io.ReadFull(r.Body, make([]byte, 1)); err != nil {
					t.Error(err)
				}
				after := reqbody.Arrived(r.Body)
				if rest, err := io.ReadAll(r.Body); string(rest) != "ello" || err != nil {
					t.Errorf("the rest is %q, %v", rest, err)
				}
				if before != tt.want || tt.want && !after || !tt.want && tt.late == "" && after || !reqbody.Arrived(r.Body) {
					t.Errorf("arrived: %t, and after a part %t", before, after)
				}
			}))
			if response := exchangeAfter(t, addr, tt.input, asked, tt.late); !strings.HasPrefix(response, "HTTP/1.1 200") {
				t.Error(response)
			}
		})
	}
}

// TestBrokenBody: the handler gets the refusal as a read error, and the client gets one response, whatever the handler does.
func TestBrokenBody(t *testing.T) {
	tests := map[string]struct {
		expect        string
		finish        func(w http.ResponseWriter)
		wantResponses []string
	}{
		"handler sends another response": {"", func(w http.ResponseWriter) { http.Error(w, "bad gateway", http.StatusBadGateway) }, []string{"400"}},
		"handler aborts":                 {"", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, []string{"400"}},
		"handler ignores it":             {"", func(http.ResponseWriter) {}, []string{"400"}},
		"after 100-continue":             {"Expect: 100-continue\r\n", func(http.ResponseWriter) {}, []string{"100", "400"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			started, got := make(chan struct{}), make(chan error, 1)
			addr, refusals := serve(t, Config{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(started)
				_, err := io.ReadAll(r.Body)
				got <- err
				tt.finish(w)
			}))
			response := exchangeAfter(t, addr, post+tt.expect+"Transfer-Encoding: chunked\r\n\r\n", started, "5\r\nhello\n")
			if statuses := statusesOf(response); !slices.Equal(statuses, tt.wantResponses) || refusals.Load() != 1 {
				t.Errorf("responses %q, want %v; %d refusals", response, tt.wantResponses, refusals.Load())
			}
			select {
			case err := <-got:
				var refusal *httperr.Error
				if !errors.As(err, &refusal) || refusal.Code != "malformed-chunk-end" {
					t.Errorf("handler saw %v", err)
				}
			case <-time.After(waitLimit):
				t.Error("handler saw no error")
			}
		})
	}
}

// TestBrokenBodyAfterResponseBegan: no second response follows a response that has begun.
func TestBrokenBodyAfterResponseBegan(t *testing.T) {
	started := make(chan struct{})
	addr, refusals := serve(t, Config{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		control.EnableFullDuplex()
		io.WriteString(w, "begun")
		control.Flush()
		close(started)
		io.Copy(io.Discard, r.Body)
	}))
	response := exchangeAfter(t, addr, post+"Transfer-Encoding: chunked\r\n\r\n", started, "zz\r\n")
	if statuses := statusesOf(response); !slices.Equal(statuses, []string{"200"}) || refusals.Load() != 1 {
		t.Errorf("response %q, %d refusals", response, refusals.Load())
	}
}

// exchangeAfter sends head, waits until the handler has started, sends rest, and returns everything that it receives.
func exchangeAfter(t *testing.T, addr, head string, started <-chan struct{}, rest string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(waitLimit))
	io.WriteString(conn, head)
	<-started
	io.WriteString(conn, rest)
	out, err := io.ReadAll(conn)
	if err != nil {
		t.Errorf("reading response: %v", err)
	}
	return string(out)
}

// statusesOf returns the status codes of the responses in out.
func statusesOf(out string) []string {
	var statuses []string
	for _, part := range strings.Split(out, "HTTP/1.1 ")[1:] {
		statuses = append(statuses, part[:3])
	}
	return statuses
}

// TestGarbageAhead: garbage that is sent ahead does not cancel the valid request before it.
func TestGarbageAhead(t *testing.T) {
	started, sent := make(chan struct{}), make(chan struct{})
	addr, _ := serve(t, Config{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(started)
		<-sent
		select {
		case <-r.Context().Done():
		case <-time.After(100 * time.Millisecond):
			io.WriteString(w, "whole")
		}
	}))
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(waitLimit))
	io.WriteString(conn, get)
	<-started
	io.WriteString(conn, "\r\n")
	close(sent)
	out, _ := io.ReadAll(conn)
	if !strings.Contains(string(out), "whole") || !strings.Contains(string(out), "HTTP/1.1 400 ") {
		t.Errorf("responses %q", out)
	}
}

func TestPriorKnowledgeHTTP2(t *testing.T) {
	addr, refusals := serve(t, Config{HTTP2: second()}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Proto)
	}))
	for _, version := range []string{"HTTP/1.1", "HTTP/2.0"} {
		protocols := &http.Protocols{}
		protocols.SetHTTP1(version == "HTTP/1.1")
		protocols.SetUnencryptedHTTP2(version == "HTTP/2.0")
		client := &http.Client{Transport: &http.Transport{Protocols: protocols}, Timeout: waitLimit}
		response, err := client.Get("http://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		client.CloseIdleConnections()
		if string(body) != version {
			t.Errorf("served by %q, want %q", body, version)
		}
	}
	if refusals.Load() != 0 {
		t.Errorf("%d refusals", refusals.Load())
	}
	// An incomplete preface must not reach a handler as a request with the method PRI.
	response := exchange(t, addr, "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")
	if !strings.HasPrefix(response, "HTTP/1.1 505 ") {
		t.Errorf("response %q", response)
	}
}

func TestUpgrades(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			io.WriteString(w, "plain")
			return
		}
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+r.Header.Get("Upgrade")+"\r\n\r\n")
		io.CopyN(conn, buffered, 4)
	}))
	t.Cleanup(app.Close)
	target, _ := url.Parse(app.URL)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	addr, refusals := serve(t, Config{}, proxy)

	tests := map[string]struct{ upgrade, want string }{
		"websocket":  {"Upgrade: WebSocket", "\r\n\r\n\x81\x00\n\x00"},
		"no upgrade": {"X: y", "plain"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(waitLimit))
			io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"+tt.upgrade+"\r\n\r\n")
			response := bufio.NewReader(conn)
			var got strings.Builder
			frame := "\x81\x00\n\x00" // invalid in HTTP/1.x
			for !strings.HasSuffix(got.String(), tt.want) {
				if strings.HasSuffix(got.String(), "\r\n\r\n") && strings.Contains(got.String(), " 101 ") && frame != "" {
					io.WriteString(conn, frame)
					frame = ""
				}
				b, err := response.ReadByte()
				if err != nil {
					t.Fatalf("%v after %q", err, got.String())
				}
				got.WriteByte(b)
			}
		})
	}
	if refusals.Load() != 0 {
		t.Errorf("%d refusals", refusals.Load())
	}
}

func TestFrom(t *testing.T) {
	conn := &script{}
	if From(context.Background()) != nil || From(ConnContext(context.Background(), conn)) != conn {
		t.Error("another connection was found")
	}
}
