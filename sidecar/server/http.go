package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/posterndev/postern/sidecar/conn/framing"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/stages/upstream"
)

// newAppServer serves the app's HTTP ports: HTTP/1.1 and cleartext HTTP/2 with prior knowledge.
func newAppServer(handler http.Handler, logger *slog.Logger) *http.Server {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           withStallTimeouts(stallTimeout, framing.Upgrades(handler)),
		Protocols:         protocols,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 250, SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second, WriteByteTimeout: stallTimeout},
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       framing.ConnContext,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		// Else net/http answers OPTIONS * by itself, unseen by every rule and the access log.
		DisableGeneralOptionsHandler: true,
	}
}

// refusals count what is refused before a request's record is made.
type refusals struct {
	framing    *prometheus.CounterVec
	overloaded prometheus.Counter
}

func newRefusals(r prometheus.Registerer) (refusals, error) {
	c := refusals{
		framing: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_framing_refusals_total", Help: "Requests refused for framing that can be read in two ways, by code.",
		}, []string{"code"}),
		overloaded: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "postern_overload_refusals_total", Help: "Requests refused because the sidecar's memory holds no more at once.",
		}),
	}
	return c, errors.Join(r.Register(c.framing), r.Register(c.overloaded))
}

// watched refuses ambiguous framing before net/http repairs it.
func watched(listener net.Listener, logger *slog.Logger, refused refusals) net.Listener {
	return framing.Listener(listener, framing.Config{
		HTTP2: true,
		OnRefuse: func(conn net.Conn, refusal *httperr.Error) {
			refused.framing.WithLabelValues(string(refusal.Code)).Inc()
			logger.Warn("request refused", "peer", conn.RemoteAddr().String(), "code", string(refusal.Code), "error", refusal)
		},
	})
}

// drain lets open requests finish until ctx ends, and then ends what is left.
func drain(ctx context.Context, app *http.Server, proxy *upstream.Proxy) error {
	err := app.Shutdown(ctx)
	proxy.Close()
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.Join(errors.New("requests were still open at the end of drainTimeout"), app.Close())
	}
	return err
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
