// Package accesslog surrounds the request path. It creates the request's Info, writes the response for the errors of
// stages, recovers from their panics, and emits an event at the end of each request. Metrics and Log are sinks of
// that event.
package accesslog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/requestid"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/secured"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/httpkit/tracing"
	"github.com/posterndev/postern/sidecar/httpkit/upgraded"
)

// Config configures the handler of one chain.
type Config struct {
	// Metrics are shared by the process. They count requests in flight and panics. Required.
	Metrics *Metrics
	// Events receives an event at the end of each request, and the events that stages emit. Required.
	Events *event.Stream
	// Logger receives panics. Required.
	Logger *slog.Logger
	// Shadow says that the policy is in shadow mode.
	Shadow bool
	// Local returns the address and port that the client connected to, before any redirect, from the request's
	// context. If it is nil, net/http's value is used (http.LocalAddrContextKey).
	Local func(ctx context.Context) netip.AddrPort
	// TLS returns the TLS session of the client's connection from the request's context, or nil. It may be nil.
	TLS func(ctx context.Context) *secured.Session
	// IDs gives each request its id; nil for none.
	IDs *requestid.IDs
	// Tracing traces requests; nil for none.
	Tracing *tracing.Requests
	// Routes are the path patterns of the policy; nil for none.
	Routes *route.Declared
	// Now is the clock of request.Info.Start; time.Now if nil.
	Now func() time.Time
}

// handler surrounds a chain.
type handler struct {
	cfg  Config
	next stage.Handler
	// records has the *record of requests that have ended, and buffers those of their writers.
	records, buffers sync.Pool
}

// New returns a handler that surrounds chain. The chain should contain the Errors stage, so that error responses get
// the headers that other stages add. The handler writes only the errors that are not handled there. New returns an
// error if a required setting is missing.
func New(cfg Config, chain stage.Handler) (http.Handler, error) {
	if cfg.Metrics == nil || cfg.Events == nil || cfg.Logger == nil || chain == nil {
		return nil, errors.New("building request log: Metrics, Events, Logger and the chain are required")
	}
	if cfg.Local == nil {
		cfg.Local = localAddr
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &handler{cfg: cfg, next: chain}, nil
}

// localAddr returns the connection's local address, as net/http knows it.
func localAddr(ctx context.Context) netip.AddrPort {
	addr, ok := ctx.Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	local := addr.AddrPort()
	return netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
}

// record is the state of one request in flight: the Info of the stages, the response so far, and the data of the
// event.
type record struct {
	info    request.Info
	w       writer
	metrics *Metrics
	logger  *slog.Logger
	served  event.Served
	timing  request.Timing
	// slots is the context of a request whose own has no room.
	slots request.Slots
	// span is nil without tracing.
	span trace.Span
}

type recordKey struct{}

// ServeHTTP runs the chain, and emits an event when the chain ends, also after a panic.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec, whole := h.record(w, r), r.Body == nil || r.Body == http.NoBody
	ctx := h.identify(rec, r)
	if !whole {
		r.Body = &body{ReadCloser: r.Body, timing: &rec.timing}
	}
	h.cfg.Metrics.inFlight.Inc()
	own := r
	if rec.span != nil || !request.InPlace(r) {
		rec.slots.Context = ctx
		own = r.WithContext(&rec.slots)
	}
	own = request.With(request.Set(own, recordKey{}, rec), &rec.info)
	defer func() {
		v := recover()
		if v == nil && rec.w.status == http.StatusSwitchingProtocols {
			h.finishUpgrade(rec, own)
			return
		}
		h.finish(rec, own, v != nil)
		if v != nil {
			panic(v) // http.ErrAbortHandler: net/http closes the connection or resets the stream
		}
		if whole && own == r {
			h.release(rec, r)
		}
	}()
	if err := rec.guard(h.next, &rec.w, own); err != nil {
		rec.respond(&rec.w, own, err)
	}
}

// record returns the record of a request that begins.
func (h *handler) record(w http.ResponseWriter, r *http.Request) *record {
	rec, ok := h.records.Get().(*record)
	if !ok {
		rec = &record{}
	}
	rec.metrics, rec.logger = h.cfg.Metrics, h.cfg.Logger
	rec.info.Start, rec.info.Local, rec.info.Shadow = h.cfg.Now(), h.cfg.Local(r.Context()), h.cfg.Shadow
	if h.cfg.TLS != nil {
		rec.info.TLS = h.cfg.TLS(r.Context())
	}
	if agent := r.Header["User-Agent"]; len(agent) > 0 {
		rec.info.UserAgent = agent[0]
	}
	rec.info.Timing, rec.info.Events = &rec.timing, h.cfg.Events
	rec.w.ResponseWriter, rec.w.OnHeader = w, &rec.w
	rec.w.timing, rec.w.start, rec.w.buffers = &rec.timing, rec.info.Start, &h.buffers
	rec.w.Host(&rec.w.room)
	return rec
}

// release keeps the record of a request that has ended for another one. Nothing uses it any more: stages use a request, its Info and its
// ResponseWriter only until they return (package stage). Records of requests to which that may not apply are left to the garbage collector: those with a
// body, which a transport may read until it notices the end, those whose connection was taken over, those that net/http's transport has sent by HTTP/2, and those that are traced. So are records that
// are not in the context of a request whose server reuses its parts in the same way.
func (h *handler) release(rec *record, r *http.Request) {
	if rec.w.status == http.StatusSwitchingProtocols || rec.info.Trace != nil || rec.info.UpstreamProtocol == request.H2C {
		return
	}
	request.End(r)
	request.Set(r, recordKey{}, nil)
	*rec = record{}
	h.records.Put(rec)
}

// identify gives the request its id, in the field that the app gets too, and its trace. It replaces what a client sent. It returns the
// context of the request's span.
func (h *handler) identify(rec *record, r *http.Request) context.Context {
	if h.cfg.IDs != nil {
		rec.info.RequestID = h.cfg.IDs.Of(r, rec.info.Start)
		rec.w.idField, rec.w.id = h.cfg.IDs.Header(), rec.info.Values(rec.info.RequestID)
		r.Header[rec.w.idField] = rec.w.id
	}
	if h.cfg.Tracing == nil {
		return r.Context()
	}
	var ctx context.Context
	ctx, rec.span = h.cfg.Tracing.Begin(r, &rec.info)
	return ctx
}

// Errors returns the stage that writes the response for the errors and panics of the stages after it. It comes after
// the stages that add headers to every response. Outside of a handler of New it passes errors on.
func Errors() stage.Stage { return writeErrors }

func writeErrors(next stage.Handler) stage.Handler {
	return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
		rec, ok := r.Context().Value(recordKey{}).(*record)
		if !ok {
			return next.ServeHTTP(w, r)
		}
		if err := rec.guard(next, w, r); err != nil {
			rec.respond(w, r, err)
		}
		return nil
	})
}

// guard turns a panic into an error, which the client sees as a 500 without the panic's text. http.ErrAbortHandler is
// passed on: it keeps an incomplete response from looking complete.
func (rec *record) guard(next stage.Handler, w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if v == http.ErrAbortHandler {
			panic(v)
		}
		rec.metrics.panics.Inc()
		rec.logger.ErrorContext(r.Context(), "panic while serving the request", "panic", safe(fmt.Sprint(v), maxCause), "stack", string(debug.Stack()))
		err = fmt.Errorf("serving request: panic: %v", v)
	}()
	return next.ServeHTTP(w, r)
}

// respond writes err. If a response has begun, it aborts that response, which must not look complete.
func (rec *record) respond(w http.ResponseWriter, r *http.Request, err error) {
	rec.served.Err = err
	if rec.w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	httperr.WriteWith(w, r, err, rec.info.RequestID)
}

// finishUpgrade emits the event when the upgraded connection has ended.
func (h *handler) finishUpgrade(rec *record, r *http.Request) {
	upgraded.End(r.Context(), func() { h.finish(rec, r, false) })
}

// finish emits the event.
func (h *handler) finish(rec *record, r *http.Request, aborted bool) {
	info, s := &rec.info, &rec.served
	h.cfg.Metrics.inFlight.Dec()
	s.Method, s.Path, s.Protocol, s.Target, s.Routes = r.Method, info.Path, r.Proto, info.Target(), h.cfg.Routes
	if s.Path == "" {
		s.Path = r.URL.Path // refused before it was normalised
	}
	if !info.ClientAddr.IsValid() {
		info.ClientAddr = peer(r.RemoteAddr) // refused before a stage determined it
	}
	s.Elapsed, s.Port = time.Since(info.Start), info.Local.Port()
	s.InApp, s.AskedApp = rec.timing.InApp()
	s.Overhead = rec.timing.Overhead(s.Elapsed)
	// If the context ended before the handler did, the client has disconnected.
	s.Aborted, s.ClientGone = aborted, aborted && r.Context().Err() != nil
	if !aborted {
		rec.w.implicit() // net/http sends 200 if the handler wrote nothing
	}
	s.Status, s.Bytes, s.Decisions = rec.w.status, rec.w.bytes, info.Decisions
	if s.Err != nil && !aborted {
		s.Status = httperr.From(s.Err).Status // a gRPC status has the HTTP status 200
	}
	if refused := request.Refused(r); refused != nil {
		s.Unlogged = refused.Unlogged
	}
	if rec.span != nil {
		h.cfg.Tracing.End(rec.span, info, s)
	}
	e := event.Event{Kind: event.Request, Time: info.Start.Add(s.Elapsed), Outcome: outcome(s), Served: s}
	if id := info.Identity; id != nil {
		s.Authenticated = true
		e.Actor = event.Actor{Provider: id.Provider, Issuer: id.Issuer, Subject: id.Subject, Session: info.Session, TokenID: id.TokenID}
	}
	info.Emit(e)
}

// peer returns the address of the connection's remote end.
func peer(remote string) netip.Addr {
	p, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr().Unmap()
}

func outcome(s *event.Served) event.Outcome {
	switch {
	case s.Aborted || s.Status >= 500:
		return event.Failed
	case s.Status >= 400:
		return event.Refused
	}
	return event.Success
}
