package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// leavePath is where the sidecar's own preStop hook says that the pod is about to end.
const leavePath = "/leave"

// leave has the sidecar send its clients elsewhere while it goes on serving: the app is asked to stop before the sidecar
// is, and a client that kept its connection would find the app gone. It answers 403 to other pods.
func (h *health) leave(w http.ResponseWriter, r *http.Request) {
	if !fromPod(r) {
		http.Error(w, "only the pod itself may say this", http.StatusForbidden)
		return
	}
	h.draining.Store(true)
	h.server.leaving.Store(true)
	h.server.logger.InfoContext(r.Context(), "the pod is about to end: clients are sent elsewhere")
	w.WriteHeader(http.StatusNoContent)
}

// fromPod reports whether the request comes from the pod itself, or by a port-forward.
func fromPod(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && peer.Addr().Unmap().IsLoopback()
}

// Leave tells the sidecar of this pod that the pod is about to end. It is the preStop hook's, in a process of its own.
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
		return fmt.Errorf("telling the sidecar to leave: it answered %d", resp.StatusCode)
	}
	return nil
}
