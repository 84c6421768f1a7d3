// Package upstream is the last stage of the request path: the proxy to the app. It changes nothing that the stages before
// it decided, and nothing of the app's that is end to end. The stage hopbyhop must come before it: an Upgrade that is still
// there is a WebSocket handshake, and TE is "trailers".
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
	"github.com/posterndev/postern/sidecar/httpkit/response"
)

// Config says where the app is and how long to wait for it.
type Config struct {
	// Target gives the app's host:port for the address and port that the client connected to. Required.
	Target func(local netip.AddrPort) (hostport string)
	// DialContext opens connections to the app; nil is a plain net.Dialer.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// Timeouts may be left zero.
	Timeouts Timeouts
	// Logger gets what goes wrong after the response has begun. Required.
	Logger *slog.Logger
}

// Timeouts are the waits for the app. A zero value is replaced by the default named beside it.
type Timeouts struct {
	// Dial bounds opening a connection, 5 s.
	Dial time.Duration
	// ResponseHeader bounds the wait for the response's header once the request was sent; zero waits as long as the client does.
	ResponseHeader time.Duration
	// ExpectContinue is how long the app may think about an Expect: 100-continue before the body is asked for on its
	// behalf, 1 s: RFC 9110 §10.1.1 forbids waiting for ever, and curl itself sends the body after one second. In HTTP/2 the
	// sidecar always asks at once, because net/http's server takes the field out before any handler sees it.
	ExpectContinue time.Duration
	// Idle is how long an unused connection is kept, 1.5 s. It stays below the keep-alive of common servers (gunicorn 2 s,
	// Node.js and uvicorn 5 s), so that a POST seldom meets a connection that the app is just closing.
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

// Validate says what is missing or negative.
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

// flushInterval is how long a few bytes of a body of known length may wait for more; bodies of unknown length (gRPC,
// server-sent events, chunks) are passed on at once.
const flushInterval = 100 * time.Millisecond

// Proxy sends requests to the app. It is a stage.Handler, and safe for concurrent use.
type Proxy struct {
	cfg        Config
	transports *transports
	reverse    *httputil.ReverseProxy
	// closed is done once Close was called; upgraded connections end with it.
	closed context.Context
	close  context.CancelFunc
}

// New returns a Proxy, or an error that says which setting is wrong.
func New(cfg Config) (*Proxy, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Timeouts = cfg.Timeouts.withDefaults()
	p := &Proxy{cfg: cfg, transports: newTransports(cfg)}
	p.closed, p.close = context.WithCancel(context.Background())
	p.reverse = &httputil.ReverseProxy{
		// Never Director: a client could delete the headers that earlier stages set, golang/go#50580.
		Rewrite:        p.rewrite,
		Transport:      p.transports,
		FlushInterval:  flushInterval,
		BufferPool:     &buffers{},
		ModifyResponse: receive,
		ErrorHandler:   keepError,
		ErrorLog:       log.New(io.Discard, "", 0), // the same errors come back through exchange, with a level and fields
	}
	return p, nil
}

// Close drops idle connections and ends upgraded ones (WebSocket), which a server's Shutdown does not know. Requests under
// way go on. It is called once, after the drain.
func (p *Proxy) Close() {
	p.close()
	p.transports.closeIdle()
}

// ServeHTTP sends r to the app and its response to w. Before anything was written it returns:
//   - 502 app-unreachable where no connection opens, 504 app-timeout where the header does not come in time,
//     502 app-bad-response where what comes is not a response;
//   - 499 client-closed-request where the client has gone; 400 or 408 where the client's body is at fault, and an earlier
//     stage's own error where that stage refuses the body while it is read;
//   - 501 connect-unsupported for CONNECT, which asks for a tunnel past every rule.
//
// A response that breaks off later is logged and ends in panic(http.ErrAbortHandler), so that the client sees a broken
// connection or a reset stream and never a short success. So does one that a Watch of the request ends, which is recorded as a
// refusal. Nothing is retried here; net/http itself repeats only requests
// that are idempotent or of which no byte was sent, and only when a kept connection turned out to be closed.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodConnect {
		return &httperr.Error{Status: http.StatusNotImplemented, Code: "connect-unsupported", Detail: "CONNECT is not supported."}
	}
	client := r.Context()
	x := &exchange{Writer: response.Writer{ResponseWriter: w}, http10: !r.ProtoAtLeast(1, 1)}
	ctx := context.WithValue(client, exchangeKey{}, x)
	watches, upgrade := request.From(r).Watches, len(r.Header["Upgrade"]) > 0
	if len(watches) > 0 || upgrade {
		var end context.CancelCauseFunc
		ctx, end = context.WithCancelCause(ctx)
		defer end(nil)
		x.watch = watch{watches: watches, ctx: ctx, end: end}
		if upgrade {
			defer context.AfterFunc(p.closed, func() { end(nil) })()
		}
	}
	r = r.WithContext(ctx)
	p.run(x, r)
	return p.conclude(client, x, r)
}

// run is the exchange itself; it remembers an abort instead of passing it on.
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

// conclude turns what became of the exchange into the stage's result. client is the context that ends when the client goes.
func (p *Proxy) conclude(client context.Context, x *exchange, r *http.Request) error {
	cause := x.failure()
	info, why := request.From(r), x.watch.stop()
	if why != nil {
		info.Decide(request.Decision{Stage: why.rule.Stage, Rule: why.rule.Name, Err: why.err})
	}
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
	if client.Err() != nil || x.writeErr != nil || why != nil {
		level = slog.LevelDebug // the client went away, which is its right, or was refused, which the access log says
	}
	p.cfg.Logger.Log(client, level, "response broke off", "method", r.Method, "port", info.Local.Port(), "error", cause)
	panic(http.ErrAbortHandler)
}

// rewrite points the request at the app. ReverseProxy has by now dropped from Out what a naive proxy should not trust:
// here the forwarding fields were made by an earlier stage, and the path and query are the very ones the rules matched.
func (p *Proxy) rewrite(pr *httputil.ProxyRequest) {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values, ok := pr.In.Header[name]; ok {
			pr.Out.Header[name] = values
		}
	}
	pr.Out.URL.Scheme = "http"
	pr.Out.URL.Host = p.cfg.Target(request.From(pr.In).Local)
	pr.Out.URL.RawQuery = pr.In.URL.RawQuery // not cleaned: "a=1;b" and "%zz" are the app's to judge
	pr.Out.URL.Fragment, pr.Out.URL.User = "", nil
	pr.Out.Trailer = announced(pr.In)
	if pr.Out.Body != nil {
		pr.Out.Body = &requestBody{ReadCloser: pr.Out.Body, in: pr.In, trailer: pr.Out.Trailer, exchange: exchangeOf(pr.In)}
	}
}
