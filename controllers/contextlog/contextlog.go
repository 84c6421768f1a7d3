// Package contextlog returns the logger of a context as a slog.Logger. All of the operator's code logs with it.
// controller-runtime adds a logger to the context of each reconcile, with the controller, the object's namespace and name and
// a reconcileID, and to the context of each admission request, with a requestID. The operator adds one to the contexts of its
// other parts.
package contextlog

import (
	"context"
	"log/slog"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// From returns the logger of ctx; controller-runtime's default logger if ctx has none.
func From(ctx context.Context) *slog.Logger {
	return slog.New(logr.ToSlogHandler(log.FromContext(ctx)))
}

// Into returns a copy of ctx that has the logger l.
func Into(ctx context.Context, l *slog.Logger) context.Context {
	return log.IntoContext(ctx, logr.FromSlogHandler(l.Handler()))
}
