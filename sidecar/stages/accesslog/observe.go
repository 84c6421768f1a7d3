// Package observe is what surrounds the request path: it makes the request's record, answers what the stages refuse,
// survives their panics, and then writes the access log and counts.
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
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/response"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// AccessLog says which requests are logged.
type AccessLog string

// The modes. A defect of the sidecar is logged in each of them.
const (
	// LogAll logs every request.
	LogAll AccessLog = "All"
	// LogErrors logs requests answered with 400 or above, broken off, or refused by a rule, shadowed or not.
	LogErrors AccessLog = "Errors"
	// LogNone logs no request.
	LogNone AccessLog = "None"
)

// Config is one chain's.
type Config struct {
	// Metrics is the process's. Required.
	Metrics *Metrics
	// Logger gets one line a request, at info level. Required.
	Logger *slog.Logger
	// AccessLog is required.
	AccessLog AccessLog
	// Policy is the policy's name for the log, "namespace/name".
	Policy string
	// Shadow is the policy's mode.
	Shadow bool
	// Ports are the policy's; requests to any other port are counted together as "other".
	Ports []uint16
	// Local gives the address and port that the client connected to, before any redirect, from the request's context. Nil
	// takes net/http's own (http.LocalAddrContextKey).
	Local func(ctx context.Context) netip.AddrPort
}

// handler surrounds a chain.
type handler struct {
	cfg   Config
	next  stage.Handler
	ports map[uint16]portMetrics
	other portMetrics
}

// portMetrics are the metrics of one port, looked up once.
type portMetrics struct {
	name    string
	seconds prometheus.Observer
	bytes   prometheus.Counter
}

// New surrounds chain. A chain's errors should be answered by its own Errors stage, so that the answer gets the headers
// that other stages add; New's handler answers those that come from outside of it. It returns an error where a setting is
// missing.
func New(cfg Config, chain stage.Handler) (http.Handler, error) {
	switch {
	case cfg.Metrics == nil || cfg.Logger == nil || chain == nil:
		return nil, errors.New("checking observe settings: Metrics, Logger and the chain are required")
	case cfg.AccessLog != LogAll && cfg.AccessLog != LogErrors && cfg.AccessLog != LogNone:
		return nil, fmt.Errorf("checking observe settings: access log %.20q is not All, Errors or None", cfg.AccessLog)
	}
	if cfg.Local == nil {
		cfg.Local = localAddr
	}
	h := &handler{cfg: cfg, next: chain, ports: make(map[uint16]portMetrics, len(cfg.Ports)), other: cfg.Metrics.port("other")}
	for _, port := range cfg.Ports {
		h.ports[port] = cfg.Metrics.port(strconv.Itoa(int(port)))
	}
	return h, nil
}

func (m *Metrics) port(name string) portMetrics {
	return portMetrics{name: name, seconds: m.seconds.WithLabelValues(name), bytes: m.bytes.WithLabelValues(name)}
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

// record is what is known of one request's answer.
type record struct {
	info    request.Info
	w       writer
	metrics *Metrics
	logger  *slog.Logger
	// err is what the chain returned; the client got its public part.
	err error
	// aborted is true where the answer broke off.
	aborted bool
	// clientGone is true where the client went before the end.
	clientGone bool
}

type recordKey struct{}

// ServeHTTP runs the chain, and logs and counts when that has ended, by whatever way.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := &record{metrics: h.cfg.Metrics, logger: h.cfg.Logger}
	rec.w.Writer = response.Writer{ResponseWriter: w, OnHeader: &rec.w}
	rec.info = request.Info{Start: time.Now(), Local: h.cfg.Local(r.Context()), Shadow: h.cfg.Shadow}
	h.cfg.Metrics.inFlight.Inc()
	r = request.With(r.WithContext(context.WithValue(r.Context(), recordKey{}, rec)), &rec.info)
	defer func() {
		v := recover()
		rec.aborted = v != nil
		h.finish(rec, r)
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
	rec.err = err
	if rec.w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	httperr.Write(w, r, err)
}

// finish logs and counts.
func (h *handler) finish(rec *record, r *http.Request) {
	elapsed := time.Since(rec.info.Start)
	port, ok := h.ports[rec.info.Local.Port()]
	if !ok {
		port = h.other
	}
	// A context that ended before the handler did means that the client has gone.
	rec.clientGone = rec.aborted && r.Context().Err() != nil
	if !rec.aborted {
		rec.w.implicit() // net/http sends 200 where a handler wrote nothing
	}
	m := h.cfg.Metrics
	m.inFlight.Dec()
	m.requests.WithLabelValues(port.name, methodLabel(r.Method), rec.codeLabel()).Inc()
	m.decide(rec.info.Decisions)
	port.seconds.Observe(elapsed.Seconds())
	port.bytes.Add(float64(rec.w.bytes))
	if h.wanted(rec) {
		h.log(rec, r, elapsed)
	}
}

func (rec *record) codeLabel() string {
	switch {
	case rec.clientGone:
		return codeLabel(statusClientGone)
	case rec.aborted:
		return "aborted"
	}
	return codeLabel(rec.w.status)
}
