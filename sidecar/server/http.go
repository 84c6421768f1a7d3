package server

import (
	"cmp"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/posterndev/postern/sidecar/conn/capacity"
	"github.com/posterndev/postern/sidecar/conn/framing/h2"
	http1 "github.com/posterndev/postern/sidecar/conn/http1/server"
	"github.com/posterndev/postern/sidecar/conn/listen"
	"github.com/posterndev/postern/sidecar/conn/passthrough"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
)

// maxStreams bounds the streams of one HTTP/2 connection. streamWindow is how much of one request body may wait for the app, in bytes.
// A connection has room for that of every stream: a body that the app does not take stops no other, whose client would seem slow. With
// net/http's default of 1 MiB one stream can use up the whole connection, and the open requests more memory than the pod has.
const (
	maxStreams   = 250
	streamWindow = 64 << 10
)

// appConfig configures the server of the app's HTTP ports.
type appConfig struct {
	handler http.Handler
	// upgraded gets the upgraded connections.
	upgraded *upgrades
	stall    stallConfig
	// onRefuse and respond are those of http1.Config; they may be nil.
	onRefuse func(net.Conn, *httperr.Error)
	respond  refuser
	logger   *slog.Logger
}

// poisonRequests makes requests unusable after their handlers have returned. Tests set it.
var poisonRequests bool

// newAppServer serves the app's HTTP ports: HTTP/1.x, and cleartext HTTP/2 with prior knowledge.
func newAppServer(c appConfig) (*http1.Server, error) {
	return http1.New(http1.Config{
		Handler: c.upgraded.track(c.handler), HTTP2: newHTTP2Server(c),
		Limits:   http1.Limits{HeadBytes: maxHeader},
		PlaceOf:  http1Place,
		OnRefuse: c.onRefuse, Respond: c.respond,
		Times: http1.Times{
			Head: readHeaderTimeout, Idle: idleTimeout, Stall: c.stall.stall, Window: cmp.Or(c.stall.window, paceWindow),
			Rest: restTime, Unread: lingerTime,
		},
		MinRate: c.stall.minRate, OnSlow: c.stall.onSlow, Logger: c.logger, Poison: poisonRequests,
	})
}

// http1Place returns the place of a connection of HTTP/1.x.
func http1Place(conn net.Conn) http1.Place {
	if p := placeOf(conn); p != nil {
		return p
	}
	return nil
}

// newHTTP2Server serves the connections of HTTP/2.
func newHTTP2Server(c appConfig) *http.Server {
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:   http1.WithStack(http1.WithTLS(withPlaces(withStallTimeouts(c.stall, withRefused(c.handler))))),
		Protocols: protocols,
		HTTP2: &http.HTTP2Config{
			MaxReadFrameSize:     h2.MaxFrame,
			MaxConcurrentStreams: maxStreams, MaxReceiveBufferPerStream: streamWindow, MaxReceiveBufferPerConnection: maxStreams * streamWindow,
			SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second, WriteByteTimeout: stallTimeout,
		},
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		ConnState:         connState,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       placeContext,
		ErrorLog:          slog.NewLogLogger(c.logger.Handler(), slog.LevelDebug),
		// Otherwise net/http responds to OPTIONS * by itself, without any rule and without the access log.
		DisableGeneralOptionsHandler: true,
	}
}

// counters count connections, and refusals before a request has its Info.
type counters struct {
	framing, refused, tcp *prometheus.CounterVec
	adminClosed           *prometheus.CounterVec
}

func newCounters(r prometheus.Registerer) (counters, error) {
	c := counters{
		framing: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_framing_refusals_total", Help: "Requests refused because of ambiguous framing, by code.",
		}, []string{"code"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_connections_refused_total", Help: "Connections that were reset, by reason.",
		}, []string{"reason"}),
		tcp: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_tcp_connections_total", Help: "TCP connections passed through, by how they ended.",
		}, []string{"end"}),
		adminClosed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_admin_connections_closed_total", Help: "Connections to the admin port that were closed for new ones, by reason.",
		}, []string{"reason"}),
	}
	c.start()
	return c, errors.Join(r.Register(c.framing), r.Register(c.refused), r.Register(c.tcp), r.Register(c.adminClosed))
}

// start gives every counter its series, because increase() does not count the event that creates one.
func (c counters) start() {
	for _, code := range http1.Codes() {
		c.framing.WithLabelValues(string(code))
	}
	for _, why := range listen.Refusals() {
		c.refused.WithLabelValues(string(why))
	}
	for _, end := range passthrough.Ends() {
		c.tcp.WithLabelValues(string(end))
	}
	for _, reason := range capacity.Reasons() {
		c.adminClosed.WithLabelValues(string(reason))
	}
}

// onRefuse counts and logs the refusal of ambiguous framing.
func (c counters) onRefuse(logger *slog.Logger) func(net.Conn, *httperr.Error) {
	return func(conn net.Conn, refusal *httperr.Error) {
		c.framing.WithLabelValues(string(refusal.Code)).Inc()
		logger.Debug("request refused", "peer", conn.RemoteAddr().String(), "code", string(refusal.Code), "error", refusal)
	}
}

// withRefused marks the HTTP/2 requests that were refused because of their head, so that next only responds.
func withRefused(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if sent, refusal := h2.Refused(r); refusal != nil {
			r = request.Refuse(sent, &request.Refusal{Stage: stageFraming, Err: refusal})
		}
		next.ServeHTTP(w, r)
	})
}

// newRegistry returns a registry with the process's own metrics.
func newRegistry(version string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "postern_sidecar_info", Help: "Always 1; the label names the build.", ConstLabels: prometheus.Labels{"version": version},
	})
	info.Set(1)
	r.MustRegister(info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}
