package request

import (
	"context"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
)

// Watch checks a response in progress: a stream or a WebSocket may last longer than the reason why its request was
// allowed.
type Watch struct {
	// Rule is the rule that refuses.
	Rule Rule
	// Judge returns why the response must end, or nil. Other goroutines than the request's call it, the last time perhaps after the request has
	// ended. So it gets what it judges, and uses nothing else of the request.
	Judge func(ctx context.Context, of Watched) *httperr.Error
	Of    Watched
}

// Watched is what a Watch judges. Each stage sets the fields that it needs.
type Watched struct {
	Identity *identity.Identity
	// Session is the id of a session, which began at Began; zero if that is unknown.
	Session string
	Began   time.Time
}

// Ask returns why the response must end, or nil.
func (w *Watch) Ask(ctx context.Context) *httperr.Error { return w.Judge(ctx, w.Of) }

// usualWatches is how many watches most requests with an identity have: for revocation and for the session.
const usualWatches = 2

// Watch adds a watch.
func (i *Info) Watch(w Watch) {
	if i.Watches == nil {
		i.Watches = make([]Watch, 0, usualWatches)
	}
	i.Watches = append(i.Watches, w)
}
