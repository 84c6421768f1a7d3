package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// leavePath is called by the sidecar's own preStop hook before the pod stops.
const leavePath = "/leave"

// leave makes the sidecar send its clients to other pods while it continues to serve: the app is stopped before the
// sidecar, and a client that kept its connection would then find no app. Clients outside of the pod get 403.
func (h *health) leave(w http.ResponseWriter, r *http.Request) {
	if !fromPod(r) {
		http.Error(w, "only the pod itself may call this", http.StatusForbidden)
		return
	}
	h.draining.Store(true)
	h.enforcer.leaving.Store(true)
	h.enforcer.logger.InfoContext(r.Context(), "pod is stopping, clients are sent to other pods")
	w.WriteHeader(http.StatusNoContent)
}

// fromPod reports whether the request comes from the pod itself, or through a port-forward. Both addresses must be loopback: the proxy
// of a mesh connects to the pod's address from 127.0.0.6, on behalf of other pods.
func fromPod(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return err == nil && ok && peer.Addr().Unmap().IsLoopback() && local.IP.IsLoopback()
}

// Leave tells the sidecar of this pod that the pod will stop. The preStop hook calls it in its own process.
func Leave(ctx context.Context, getenv func(string) string) error {
	r := reader{getenv: getenv}
	port := r.port(compiled.EnvAdminPort, compiled.AdminPort)
	if err := errors.Join(r.errs...); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://127.0.0.1:"+strconv.Itoa(int(port))+leavePath, nil)
	if err != nil {
		return fmt.Errorf("telling the sidecar to leave: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("telling the sidecar to leave: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("telling the sidecar to leave: the response is %d", resp.StatusCode)
	}
	return nil
}

// defaultDrain bounds the drain of a sidecar that never had a document.
const defaultDrain = 25 * time.Second

// endOfRequests bounds the wait for requests whose connections were closed at the end of the drain.
const endOfRequests = 2 * time.Second

// drain stops accepting, lets open requests, streams and upgraded connections finish for as long as the policy allows,
// and then ends the remaining ones. HTTP/2 clients get GOAWAY at the beginning, and WebSockets get close frames at the
// end.
func (s *sidecar) drain() error {
	s.health.draining.Store(true)
	timeout := defaultDrain
	if active := s.enforcer.current(); active.Snapshot != nil {
		timeout = active.Policy().Sidecar.DrainTimeout.Std()
	}
	s.cfg.Logger.Info("stopping", "drainTimeout", timeout.String())
	s.set.Shutdown()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	untouched := make(chan error, 1)
	go func() { untouched <- s.tcp.Shutdown(ctx) }()
	err := s.app.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.Join(errors.New("requests were still open at the end of drainTimeout"), s.app.Close())
	}
	// After the requests, because one of them may have become a WebSocket meanwhile.
	err = errors.Join(err, s.upgraded.shutdown(ctx))
	s.proxy.Close()
	// Requests whose connections were closed still have their lines in the log and their records in the audit trail.
	ended, done := context.WithTimeout(context.Background(), endOfRequests)
	defer done()
	s.enforcer.await(ended)
	return errors.Join(err, <-untouched)
}
