package soak

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/posterndev/postern/test/servertest"
)

// app is what the sidecar protects. It can be stopped and started again at the same address.
type app struct {
	address string
	grpc    *grpc.Server

	mu     sync.Mutex
	server *http.Server
	// conns has the state of each connection of HTTP, and upgraded those that are no longer of HTTP.
	conns    map[net.Conn]http.ConnState
	upgraded map[net.Conn]bool
	// http2 has the sidecar's addresses of connections of HTTP/2.
	http2 map[string]bool
}

// newApp returns an app that serves at address until the test ends.
func newApp(t *testing.T, address string) *app {
	t.Helper()
	a := &app{address: address, grpc: grpc.NewServer()}
	a.grpc.RegisterService(&grpc.ServiceDesc{
		ServiceName: "test.Echo", HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{StreamName: "Echo", ServerStreams: true, ClientStreams: true, Handler: echoCalls}},
	}, struct{}{})
	t.Cleanup(a.stop)
	a.start(t)
	return a
}

// start serves HTTP/1.1, and HTTP/2 without TLS.
func (a *app) start(t *testing.T) {
	t.Helper()
	var l net.Listener
	servertest.Eventually(t, "the app's address to be free", func() (ok bool) {
		var err error
		l, err = net.Listen("tcp", a.address)
		return err == nil
	})
	server := &http.Server{Handler: a, Protocols: &http.Protocols{}, ConnState: a.follow}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.server, a.conns, a.upgraded, a.http2 = server, map[net.Conn]http.ConnState{}, map[net.Conn]bool{}, map[string]bool{}
	go func() { _ = server.Serve(l) }()
}

// stop closes the listener and cuts all connections, like an app that crashes.
func (a *app) stop() {
	a.mu.Lock()
	server := a.server
	a.mu.Unlock()
	_ = server.Close()
	a.mu.Lock()
	defer a.mu.Unlock()
	for conn := range a.upgraded {
		_ = conn.Close()
	}
}

func (a *app) follow(conn net.Conn, state http.ConnState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch state {
	case http.StateClosed:
		delete(a.conns, conn)
	case http.StateHijacked:
		delete(a.conns, conn)
		a.upgraded[conn] = true
	default:
		a.conns[conn] = state
	}
}

// closeIdle closes the connections of HTTP/1.1 on which no request is in progress, like an app whose keep-alive is short. The sidecar looks at
// such a connection before it uses it again. The end of a connection of HTTP/2 reaches net/http's Transport a little later.
func (a *app) closeIdle() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for conn, state := range a.conns {
		if state == http.StateIdle && !a.http2[conn.RemoteAddr().String()] {
			_ = conn.Close()
		}
	}
}

// open returns how many connections of HTTP are open.
func (a *app) open() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.conns)
}

// ServeHTTP serves a request: it responds to an upload with its checksum, to /bytes with what it is asked for, and otherwise with what it
// has received.
func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 2 {
		a.mu.Lock()
		a.http2[r.RemoteAddr] = true
		a.mu.Unlock()
	}
	_, last, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc"):
		a.grpc.ServeHTTP(w, r)
	case last == "socket":
		echoMessages(w, r)
	case last == "sum":
		sum := sha256.New()
		n, err := io.Copy(sum, r.Body)
		if err != nil {
			return // the client or the sidecar has cut the body
		}
		fmt.Fprintf(w, "%d %s", n, hex.EncodeToString(sum.Sum(nil)))
	case last == "bytes":
		sendBytes(w, r)
	default:
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.RequestURI(), r.Header.Get("X-Auth-Subject"))
	}
}

// sendBytes responds with n bytes in the coding that the request names.
func sendBytes(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.FormValue("n"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if r.FormValue("chunked") == "" {
		w.Header().Set("Content-Length", strconv.Itoa(n))
	}
	w.Header().Set("Content-Type", r.FormValue("type"))
	for rest := pattern(n); len(rest) > 0; {
		step := min(len(rest), 10_000)
		if _, err := w.Write(rest[:step]); err != nil {
			return
		}
		rest = rest[step:]
		if r.FormValue("chunked") != "" {
			_ = http.NewResponseController(w).Flush()
		}
	}
}

// maxBody is the size of the largest body.
const maxBody = 1 << 20

var patterned = func() []byte {
	b := make([]byte, maxBody)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}()

// pattern returns n bytes that differ from place to place.
func pattern(n int) []byte { return patterned[:n] }

// echoMessages echoes the messages of a WebSocket until it ends.
func echoMessages(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	c.SetReadLimit(maxBody)
	for {
		kind, b, err := c.Read(context.Background())
		if err != nil {
			return
		}
		if err := c.Write(context.Background(), kind, b); err != nil {
			return
		}
	}
}

// echoCalls responds to every message of a call with the same message, and ends with their number as a trailer.
func echoCalls(_ any, s grpc.ServerStream) error {
	for n := 0; ; n++ {
		m := new(wrapperspb.StringValue)
		if err := s.RecvMsg(m); err == io.EOF {
			s.SetTrailer(metadata.Pairs("received", strconv.Itoa(n)))
			return nil
		} else if err != nil {
			return err
		}
		if err := s.SendMsg(m); err != nil {
			return err
		}
	}
}
