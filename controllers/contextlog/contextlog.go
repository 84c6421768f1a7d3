// Package contextlog is the operator's way to log: through the logger that a context carries, as a slog.Logger.
// controller-runtime puts one into the context of each reconcile, with the controller, the object's namespace and name and
// a reconcileID, and into that of each admission request, with a requestID. The operator puts one into the context of all
// else that it runs.
package contextlog

import (
	"context"
	"log/slog"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// From returns the logger of ctx; controller-runtime's own where ctx carries none.
func From(ctx context.Context) *slog.Logger {
	return slog.New(logr.ToSlogHandler(log.FromContext(ctx)))
}

// Into returns a context that carries l.
func Into(ctx context.Context, l *slog.Logger) context.Context {
	return log.IntoContext(ctx, logr.FromSlogHandler(l.Handler()))
}
