package server

import (
	"context"
	"crypto/ed25519"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/document"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

// Documents bring the policy: an operator's, or a fixed one with its updates.
type Documents interface {
	// start applies documents to e in the background until ctx ends. An error ends the sidecar. What the sidecar has to report
	// goes to the returned reports.
	start(ctx context.Context, e *enforcer) (reports, error)
}

// reports take what an operator should know about a running sidecar. They are called with the present state again and again,
// and act on changes.
type reports interface {
	// SetProblems names the dependencies of the policy that are unavailable.
	SetProblems(problems []compiled.Problem)
	// SetReachable names the pod's listeners that clients reach around the sidecar.
	SetReachable(listeners []string)
}

// mountedInterval lies between two looks at the mounted document.
const mountedInterval = 2 * time.Second

// operated are the documents that an operator signs: from the mounted ConfigMap and by a long poll. Reports go back with the
// poll.
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
