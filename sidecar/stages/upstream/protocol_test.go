package upstream

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// appOf starts an app that speaks only these protocols, and responds with the request's protocol and body.
func appOf(t *testing.T, http1, http2 bool) (addr string) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", r.Proto, body)
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(http1)
	s.Config.Protocols.SetUnencryptedHTTP2(http2)
	s.Start()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.Listener.Addr().String()
}

// TestUpstreamProtocol: clients of both versions reach apps of both kinds.
func TestUpstreamProtocol(t *testing.T) {
	set := func(p request.Protocol) stage.Stage {
		return func(next stage.Handler) stage.Handler {
			return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
				r = request.With(r, &request.Info{UpstreamProtocol: p})
				return next.ServeHTTP(w, r)
			})
		}
	}
	tests := map[string]struct {
		http1, http2 bool // what the app speaks
		protocol     request.Protocol
		client       int
		contentType  string
		want         string // the start of the app's response; empty for a 502
	}{
		"HTTP/2 to HTTP/1.1":         {true, false, "", 2, "", "HTTP/1.1 hello"},
		"HTTP/2 to both":             {true, true, "", 2, "", "HTTP/2.0 hello"},
		"HTTP/2 to HTTP/2":           {false, true, request.Auto, 2, "", "HTTP/2.0 hello"},
		"HTTP/1.1 to both":           {true, true, "", 1, "", "HTTP/1.1 hello"},
		"gRPC to both":               {true, true, "", 2, "application/grpc+proto", "HTTP/2.0 hello"},
		"gRPC to HTTP/1.1":           {true, false, "", 2, "application/grpc", ""},
		"HTTP/1.1 to HTTP/2":         {false, true, request.H2C, 1, "", "HTTP/2.0 hello"},
		"HTTP/1.1 alone, HTTP/2":     {true, true, request.HTTP1, 2, "", "HTTP/1.1 hello"},
		"HTTP/1.1 alone, HTTP/1.1":   {true, true, request.HTTP1, 1, "", "HTTP/1.1 hello"},
		"HTTP/2 alone, app does not": {true, false, request.H2C, 2, "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			addr := appOf(t, tt.http1, tt.http2)
			d := open(t, addr, nil, set(tt.protocol))
			for range 2 {
				res, err := client(t, tt.client).Post("http://"+d.addr+"/", tt.contentType, io.NopCloser(strings.NewReader("hello")))
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(res.Body)
				_ = res.Body.Close()
				failed := res.StatusCode == 502 || res.Header.Get("Grpc-Status") == "14"
				if failed != (tt.want == "") || !strings.HasPrefix(string(body), tt.want) {
					t.Errorf("%d %q; want %q", res.StatusCode, body, tt.want)
				}
			}
		})
	}
}

// TestProbesAreRare: an app is asked for its protocol once a minute, by one request at a time.
func TestProbesAreRare(t *testing.T) {
	addr := appOf(t, true, false)
	now := time.Now()
	tr := newTransports(Config{})
	var dials atomic.Int64
	dial := tr.protocols.dial
	p := &protocols{now: func() time.Time { return now }, known: map[string]*probed{}}
	p.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return dial(ctx, network, address)
	}
	var wait sync.WaitGroup
	for range 10 {
		wait.Go(func() {
			if p.speaksHTTP2(t.Context(), addr) {
				t.Error("the app speaks HTTP/1.1")
			}
		})
	}
	wait.Wait()
	if dials.Load() != 1 {
		t.Errorf("%d probes; want 1", dials.Load())
	}
	now = now.Add(probeEvery)
	if p.speaksHTTP2(t.Context(), addr); dials.Load() != 2 {
		t.Errorf("%d probes after a minute; want 2", dials.Load())
	}
}
