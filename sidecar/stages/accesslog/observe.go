// Package accesslog is what surrounds the request path: it makes the request's Info, writes the response to what the stages
// refuse, survives their panics, and emits an event when the request has been answered. Metrics and Log are sinks of that event.
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
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/response"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// Config is one chain's.
type Config struct {
	// Metrics is the process's: it counts requests in flight and panics. Required.
	Metrics *Metrics
	// Events gets an event for each request that has been answered, and is what stages emit on. Required.
	Events *event.Stream
	// Logger is told of panics. Required.
	Logger *slog.Logger
	// Shadow is the policy's mode.
	Shadow bool
	// Local gives the address and port that the client connected to, before any redirect, from the request's context. Nil
	// takes net/http's own (http.LocalAddrContextKey).
	Local func(ctx context.Context) netip.AddrPort
}

// handler surrounds a chain.
type handler struct {
	cfg  Config
	next stage.Handler
}

// New surrounds chain. A chain's errors should be answered by its own Errors stage, so that the answer gets the headers
// that other stages add; New's handler answers those that come from outside of it. It returns an error where a setting is
// missing.
func New(cfg Config, chain stage.Handler) (http.Handler, error) {
	if cfg.Metrics == nil || cfg.Events == nil || cfg.Logger == nil || chain == nil {
		return nil, errors.New("building request log: Metrics, Events, Logger and the chain are required")
	}
	if cfg.Local == nil {
		cfg.Local = localAddr
	}
	return &handler{cfg: cfg, next: chain}, nil
}

// localAddr is what net/http knows of the connection's own end.
func localAddr(ctx context.Context) netip.AddrPort {
	addr, ok := ctx.Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	local := addr.AddrPort()
	return netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
}

// record is one request under way: the stages' Info, the response so far, and what becomes the event.
type record struct {
	info    request.Info
	w       writer
	metrics *Metrics
	logger  *slog.Logger
	served  event.Served
}

type recordKey struct{}

// ServeHTTP runs the chain, and emits an event when that has ended, in whatever way.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := &record{metrics: h.cfg.Metrics, logger: h.cfg.Logger}
	rec.w.Writer = response.Writer{ResponseWriter: w, OnHeader: &rec.w}
	rec.info = request.Info{Start: time.Now(), Local: h.cfg.Local(r.Context()), Shadow: h.cfg.Shadow, Events: h.cfg.Events}
	h.cfg.Metrics.inFlight.Inc()
	r = request.With(r.WithContext(context.WithValue(r.Context(), recordKey{}, rec)), &rec.info)
	defer func() {
		v := recover()
		h.finish(rec, r, v != nil)
		if v != nil {
			panic(v) // http.ErrAbortHandler: net/http breaks the connection or resets the stream
		}
	}()
	if err := rec.guard(h.next, &rec.w, r); err != nil {
		rec.answer(&rec.w, r, err)
	}
}

// Errors is the stage that answers what the stages after it refuse, and their panics. It comes after the stages that add
// headers to every answer. Without the record of New it passes errors on.
func Errors() stage.Stage { return answerErrors }

func answerErrors(next stage.Handler) stage.Handler {
	return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
		rec, ok := r.Context().Value(recordKey{}).(*record)
		if !ok {
			return next.ServeHTTP(w, r)
		}
		if err := rec.guard(next, w, r); err != nil {
			rec.answer(w, r, err)
		}
		return nil
	})
}

// guard turns a panic into an error, which the client sees as 500 without its text. http.ErrAbortHandler goes on: it is
// how a broken answer is kept from looking complete.
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
		rec.logger.ErrorContext(r.Context(), "request met a defect", "panic", safe(fmt.Sprint(v), maxCause), "stack", string(debug.Stack()))
		err = fmt.Errorf("serving request: panic: %v", v)
	}()
	return next.ServeHTTP(w, r)
}

// answer writes err, or breaks the answer off where one has begun: it must not look complete.
func (rec *record) answer(w http.ResponseWriter, r *http.Request, err error) {
	rec.served.Err = err
	if rec.w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	httperr.Write(w, r, err)
}

// finish emits the event.
func (h *handler) finish(rec *record, r *http.Request, aborted bool) {
	info, s := &rec.info, &rec.served
	h.cfg.Metrics.inFlight.Dec()
	s.Method, s.Path, s.Protocol = r.Method, info.Path, r.Proto
	if s.Path == "" {
		s.Path = r.URL.Path // refused before it was normalised
	}
	if !info.ClientAddr.IsValid() {
		info.ClientAddr = peer(r.RemoteAddr) // refused before a stage knew it
	}
	s.Elapsed, s.Port = time.Since(info.Start), info.Local.Port()
	// A context that ended before the handler did means that the client has gone.
	s.Aborted, s.ClientGone = aborted, aborted && r.Context().Err() != nil
	if !aborted {
		rec.w.implicit() // net/http sends 200 where a handler wrote nothing
	}
	s.Status, s.Bytes, s.Decisions = rec.w.status, rec.w.bytes, info.Decisions
	e := event.Event{Kind: event.Request, Outcome: outcome(s), Served: s}
	if id := info.Identity; id != nil {
		s.Authenticated = true
		e.Actor = event.Actor{Provider: id.Provider, Issuer: id.Issuer, Subject: id.Subject, Session: info.Session, TokenID: id.TokenID}
	}
	info.Emit(e)
}

// peer is the address of a connection's other end.
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
