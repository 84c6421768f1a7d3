// Command audit writes audit records from the streams in Redis to PostgreSQL. Sidecars append to the streams if their class says
// database.via: RedisStream. The chart runs it as a Deployment; any number of replicas share the work. On SIGTERM it finishes the batches in
// hand.
//
// `audit maintain` makes and drops the partitions of the audit trail, as `postern audit maintain` does, and ends. The chart runs it as a
// CronJob with credentials of its own: what reads the streams cannot delete records.
//
// It reads its settings from environment variables.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"

	"github.com/posterndev/postern/sidecar/httpkit/quoted"
)

func main() {
	read, do := readSettings, run
	switch {
	case len(os.Args) == 2 && os.Args[1] == "maintain":
		read, do = readMaintenance, maintain
	case len(os.Args) > 1:
		fmt.Fprintln(os.Stderr, "audit: the only argument is maintain")
		os.Exit(2)
	}
	s, err := read(os.Getenv)
	if err != nil {
		fmt.Fprintln(os.Stderr, "audit: this image needs the environment variables that the chart sets:", err)
		os.Exit(2)
	}
	logger := slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{Level: s.level}))
	quoted.StandardLog(logger)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := do(ctx, s, logger); err != nil {
		logger.Error("the command stopped", "error", err)
		os.Exit(1)
	}
}

// run writes records until ctx ends.
func run(ctx context.Context, s settings, log *slog.Logger) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	p, err := open(s, registry, log)
	defer p.close()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", s.listen)
	if err != nil {
		return fmt.Errorf("opening the port of health and metrics: %w", err)
	}
	server := newServer(handler(p.unready, registry))
	defer server.Close() //nolint:errcheck // the process ends
	go func() {
		if err := server.Serve(netutil.LimitListener(listener, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
			log.Error("serving health and metrics", "error", err)
		}
	}()
	log.Info("writing audit records", "name", s.name, "database", s.database.Address)
	p.drain.Run(ctx)
	log.Info("the batches in hand are written")
	return nil
}

// maxConnections bounds the clients of health and metrics.
const maxConnections = 64

func newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 20 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10,
	}
}

// handler serves the kubelet and Prometheus. Why the writer is not ready is in its log, and not for other pods.
func handler(unready func() error, gatherer prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { respond(w, true) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { respond(w, unready() == nil) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))
	return mux
}

func respond(w http.ResponseWriter, ok bool) {
	w.Header().Set("Content-Type", "application/json")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(map[string]bool{"ok": ok}) // on an error the client has disconnected
}
