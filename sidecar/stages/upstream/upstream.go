// Package upstream is the last stage of the request path: the proxy to the app. It changes nothing that the earlier
// stages decided, and nothing of the app's response that is end to end. The stage hopbyhop must come before it: an
// Upgrade that is still present is then a WebSocket handshake, and TE is "trailers".
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
	"sync"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/tracing"
)

// Config says where the app is and how long to wait for it.
type Config struct {
	// Target returns the app's host:port for the address and port that the client connected to. Required.
	Target func(local netip.AddrPort) (hostport string)
	// DialContext opens connections to the app; a net.Dialer if nil. WantsHTTP2 tells it the protocol.
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

// DialTimeout is the default of Timeouts.Dial.
const DialTimeout = 5 * time.Second

func (t Timeouts) withDefaults() Timeouts {
	set := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	set(&t.Dial, DialTimeout)
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
	// unused has *exchange of requests that have ended.
	unused sync.Pool
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
	p := &Proxy{cfg: cfg, transports: newTransports(cfg), unused: sync.Pool{New: func() any { return &exchange{} }}}
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

// Renew lets the next requests open connections to the app, because Config.DialContext opens others from now on. Connections in use end with their requests.
func (p *Proxy) Renew() { p.transports.renew() }

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
// the response, which is recorded as a refusal. Only requests are repeated that have no body and are idempotent, or of
// which no byte was sent, and only if a kept connection turned out to be closed.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	if refused := request.Refused(r); refused != nil {
		return refused.Err // the guard returns it; no profile of the chain may pass it on
	}
	if r.Method == http.MethodConnect {
		return &httperr.Error{Status: http.StatusNotImplemented, Code: "connect-unsupported", Detail: "CONNECT is not supported."}
	}
	client := r.Context()
	x := p.unused.Get().(*exchange)
	x.ResponseWriter, x.http10 = w, !r.ProtoAtLeast(1, 1)
	ctx, info := client, request.From(r)
	target, upgrade := p.cfg.Target(info.Local), len(r.Header["Upgrade"]) > 0
	http2 := p.transports.protocols.useHTTP2(r, target)
	if r.ContentLength < 0 || r.ContentLength > 0 && (http2 || upgrade || !hasArrived(r)) {
		x.reading = make(chan struct{}, 1)
		defer x.endBody()
	}
	release := func() {}
	if x.watch.watches = info.Watches; upgrade || http2 && len(info.Watches) > 0 {
		ctx, release = p.endable(ctx, x, upgrade)
	}
	outlives := false
	defer func() {
		if !outlives {
			release()
		}
	}()
	if http2 {
		ctx = context.WithValue(ctx, exchangeKey{}, x)
	}
	if ctx != client {
		r = r.WithContext(ctx)
	}
	r, call := tracing.StartApp(r, info.Local.Port())
	p.run(x, r, target, http2)
	if outlives = x.tunnel != nil; outlives {
		p.outlive(client, x, r, call, release)
		return nil
	}
	call.End(x.status, x.broken || x.failure() != nil)
	err := p.conclude(client, x, r)
	if !upgrade && !http2 {
		p.reuse(x)
	}
	return err
}

// endable returns a context that the exchange's watch can end, and the proxy's Close if it is that of an upgrade. release ends it, too.
func (p *Proxy) endable(client context.Context, x *exchange, upgrade bool) (ctx context.Context, release func()) {
	ctx, end := context.WithCancelCause(client)
	x.watch.ctx, x.watch.end = ctx, end
	if !upgrade {
		return ctx, func() { end(nil) }
	}
	stop := context.AfterFunc(p.closed, func() { end(nil) })
	return ctx, func() {
		stop()
		end(nil)
	}
}

// reuse keeps an exchange for another request of an HTTP/1.1 app, unless something else may still use it: what reads a body, and a watch.
func (p *Proxy) reuse(x *exchange) {
	if x.reading == nil && x.watch.timer == nil {
		*x = exchange{}
		p.unused.Put(x)
	}
}

// run proxies the request. It records an abort instead of passing the panic on.
func (p *Proxy) run(x *exchange, r *http.Request, target string, http2 bool) {
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler:
			x.broken = true
		default:
			panic(v)
		}
	}()
	if x.shared = http2; http2 {
		defer x.interims.await() // if there is no final response
		p.reverse.ServeHTTP(x, r)
	} else {
		p.relay(x, r, target)
	}
}

// conclude turns the result of the exchange into the stage's result. client is the context that ends when the client
// disconnects.
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
		pr.Out.Body = newRequestBody(pr.In, pr.Out.Body, pr.Out.Trailer, exchangeOf(pr.In))
	}
}
