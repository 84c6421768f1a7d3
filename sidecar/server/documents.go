package server

import (
	"context"
	"crypto/ed25519"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/document"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

// Documents provide the policy: documents of an operator, or a fixed document with its updates.
type Documents interface {
	// start applies documents to e in the background until ctx ends. An error stops the sidecar. The sidecar sends
	// its reports to the returned value.
	start(ctx context.Context, e *enforcer) (reports, error)
}

// reports receive what an operator should know about a running sidecar. They are called repeatedly with the current
// state, and act on changes.
type reports interface {
	// SetProblems names the policy's dependencies that are unavailable.
	SetProblems(problems []compiled.Problem)
	// SetReachable names the pod's listeners that clients can reach without the sidecar.
	SetReachable(listeners []string)
	// SetUnredirected says whether the rules of Redirect are missing in the pod's network.
	SetUnredirected(missing bool)
	// SetCertificatesExpire says when the first of the sidecar's certificates expires; the zero time if it has none.
	SetCertificatesExpire(at time.Time)
}

// mountedInterval is the pause between two reads of the mounted document.
const mountedInterval = 2 * time.Second

// operated are documents that an operator signs: from the mounted ConfigMap and by a long poll. The poll also sends
// the reports.
type operated struct {
	namespace, policy string
	key               ed25519.PublicKey
	// floor is the lowest revision that is accepted.
	floor     int64
	dir       string
	url, ca   string
	tokenFile string
	version   string
}

func (o operated) start(ctx context.Context, e *enforcer) (reports, error) {
	keeper := document.NewKeeper(document.Config{
		Namespace: o.namespace, Policy: o.policy, Key: o.key, Floor: o.floor, Apply: e.apply, Version: o.version, Logger: e.logger,
	})
	poller, err := document.NewPoller(document.PollConfig{
		URL: o.url, CA: []byte(o.ca), Token: secret.File(o.tokenFile), Keeper: keeper, Logger: e.logger,
	})
	if err != nil {
		return nil, err
	}
	go document.Mounted{Dir: o.dir, Interval: mountedInterval, Keeper: keeper, Logger: e.logger}.Run(ctx)
	go poller.Run(ctx)
	return keeper, nil
}
