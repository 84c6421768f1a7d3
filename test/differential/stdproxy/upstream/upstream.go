// Package upstream is the proxy to the app as it was on httputil.ReverseProxy and http.Transport, before the sidecar had an HTTP/1.1 engine
// of its own. It is kept unchanged, except that it speaks no HTTP/2, makes no spans and watches no responses, as the reference of
// test/differential.
package upstream

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/test/differential/stdproxy/writer"
)

// Config says where the app is and how long to wait for it.
type Config struct {
	// Target returns the app's host:port for the address and port that the client connected to. Required.
	Target func(local netip.AddrPort) (hostport string)
	// DialContext opens connections to the app; a net.Dialer if nil.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// Timeouts may be left zero.
	Timeouts Timeouts
	// Logger receives the errors that occur after the response has begun. Required.
	Logger *slog.Logger
}

// Timeouts bound the waits for the app. A zero value is replaced by the default named in each field's comment.
type Timeouts struct {
	// Dial bounds opening a connection, 5 s.
	Dial time.Duration
	// ResponseHeader bounds the wait for the response's header after the request was sent. Zero waits as long as the
	// client does.
	ResponseHeader time.Duration
	// ExpectContinue is how long the app may delay the response to Expect: 100-continue before the sidecar asks the
	// client for the body, 1 s. RFC 9110 §10.1.1 forbids an unlimited wait, and curl itself sends the body after one
	// second. In HTTP/2 the sidecar always asks at once, because net/http's server removes the field before any
	// handler sees it.
	ExpectContinue time.Duration
	// Idle is how long an unused connection is kept, 1.5 s. It is shorter than the keep-alive of common servers
	// (gunicorn 2 s, Node.js and uvicorn 5 s), so that a POST rarely meets a connection that the app is closing.
	Idle time.Duration
}

func (t Timeouts) withDefaults() Timeouts {
	set := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	set(&t.Dial, 5*time.Second)
	set(&t.ExpectContinue, time.Second)
	set(&t.Idle, 1500*time.Millisecond)
	return t
}

// Validate returns an error if a setting is missing or negative.
func (c Config) Validate() error {
	t := c.Timeouts
	switch {
	case c.Target == nil:
		return errors.New("checking upstream settings: Target is required")
	case c.Logger == nil:
		return errors.New("checking upstream settings: Logger is required")
	case min(t.Dial, t.ResponseHeader, t.ExpectContinue, t.Idle) < 0:
		return errors.New("checking upstream settings: a timeout is negative")
	}
	return nil
}

// flushInterval is how long a part of a body of known length may be buffered. Bodies of unknown length (gRPC,
// server-sent events, chunks) are passed on immediately.
const flushInterval = 100 * time.Millisecond

// Proxy sends requests to the app. It is a stage.Handler and safe for concurrent use.
type Proxy struct {
	cfg        Config
	transports *transports
	reverse    *httputil.ReverseProxy
	// closed is done after Close was called. Upgraded connections end with it.
	closed context.Context
	close  context.CancelFunc
}

// New returns a Proxy, or an error that names the invalid setting.
func New(cfg Config) (*Proxy, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Timeouts, cfg.Logger = cfg.Timeouts.withDefaults(), request.Logger(cfg.Logger)
	p := &Proxy{cfg: cfg, transports: newTransports(cfg)}
	p.closed, p.close = context.WithCancel(context.Background())
	p.reverse = &httputil.ReverseProxy{
		// Rewrite and not Director: with Director a client could delete the headers that earlier stages set,
		// golang/go#50580.
		Rewrite:        p.rewrite,
		Transport:      p.transports,
		FlushInterval:  flushInterval,
		BufferPool:     &buffers{},
		ModifyResponse: receive,
		ErrorHandler:   keepError,
		ErrorLog:       log.New(io.Discard, "", 0), // exchange reports the same errors, with a level and fields
	}
	return p, nil
}

// Close closes idle connections and ends upgraded ones (WebSocket), which a server's Shutdown does not cover.
// Requests in flight continue. It is called once, after the drain.
func (p *Proxy) Close() {
	p.close()
	p.transports.closeIdle()
}

// ServeHTTP sends r to the app and the app's response to w. Before anything was written it returns:
//   - 502 app-unreachable if no connection opens, 504 app-timeout if the header does not arrive in time, 502
//     app-bad-response if the app sends no valid response;
//   - 499 client-closed-request if the client disconnected, 400 or 408 if the client's body is invalid or late, and
//     the error of an earlier stage if that stage refuses the body while it is read;
//   - the refusal of a request that was refused before the chain;
//   - 501 connect-unsupported for CONNECT, which would open a tunnel that no rule inspects.
//
// If a response fails later, the error is logged and ServeHTTP panics with http.ErrAbortHandler, so that the client
// sees a closed connection or a reset stream and not a short success. The same happens if a Watch of the request ends
// the response, which is recorded as a refusal. Nothing is retried here. net/http itself repeats only requests that
// are idempotent or of which no byte was sent, and only if a kept connection turned out to be closed.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	if refused := request.Refused(r); refused != nil {
		return refused.Err // the guard returns it; no profile of the chain may pass it on
	}
	if r.Method == http.MethodConnect {
		return &httperr.Error{Status: http.StatusNotImplemented, Code: "connect-unsupported", Detail: "CONNECT is not supported."}
	}
	client := r.Context()
	x := &exchange{Writer: writer.Writer{ResponseWriter: w}, http10: !r.ProtoAtLeast(1, 1), reading: make(chan struct{}, 1)}
	ctx := context.WithValue(client, exchangeKey{}, x)
	if len(r.Header["Upgrade"]) > 0 {
		var end context.CancelCauseFunc
		ctx, end = context.WithCancelCause(ctx)
		defer end(nil)
		defer context.AfterFunc(p.closed, func() { end(nil) })()
	}
	r = r.WithContext(ctx)
	p.run(x, r)
	return p.conclude(client, x, r)
}

// run proxies the request. It records an abort instead of passing the panic on.
func (p *Proxy) run(x *exchange, r *http.Request) {
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler:
			x.broken = true
		default:
			panic(v)
		}
	}()
	p.reverse.ServeHTTP(x, r)
}

// conclude turns the result of the exchange into the stage's result. client is the context that ends when the client
// disconnects.
func (p *Proxy) conclude(client context.Context, x *exchange, r *http.Request) error {
	cause := x.failure()
	info := request.From(r)
	switch {
	case cause == nil && !x.broken:
		return nil
	case x.hijacked:
		p.cfg.Logger.DebugContext(client, "upgraded connection ended early", "error", cause)
		return nil
	case !x.started:
		return classify(client, x, cause)
	}
	level := slog.LevelWarn
	if client.Err() != nil || x.writeErr != nil {
		level = slog.LevelDebug // the client disconnected, which is normal, or was refused, which is in the access log
	}
	p.cfg.Logger.Log(client, level, "response aborted", "method", r.Method, "port", info.Local.Port(), "error", cause)
	panic(http.ErrAbortHandler)
}

// rewrite points the request at the app. ReverseProxy has already removed from Out the fields that a simple proxy
// should not trust. Here an earlier stage wrote the forwarding fields, and the path and query are exactly those that
// the rules matched.
func (p *Proxy) rewrite(pr *httputil.ProxyRequest) {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values, ok := pr.In.Header[name]; ok {
			pr.Out.Header[name] = values
		}
	}
	pr.Out.URL.Scheme = "http"
	pr.Out.URL.Host = p.cfg.Target(request.From(pr.In).Local)
	pr.Out.URL.RawQuery = pr.In.URL.RawQuery // unchanged: the app decides about "a=1;b" and "%zz"
	pr.Out.URL.Fragment, pr.Out.URL.User = "", nil
	pr.Out.Trailer = announced(pr.In)
	if pr.Out.Body != nil {
		pr.Out.Body = &requestBody{ReadCloser: pr.Out.Body, in: pr.In, trailer: pr.Out.Trailer, exchange: exchangeOf(pr.In)}
	}
}
