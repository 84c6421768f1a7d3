package server

import (
	"context"
	"fmt"

	"github.com/posterndev/postern/api/compiled"
)

// given is one document, with newer ones of the same policy. The sidecar does not start without the first document.
type given struct {
	document *compiled.Policy
	updates  <-chan *compiled.Policy
}

func (g given) start(ctx context.Context, e *enforcer) (reports, error) {
	if _, err := g.apply(ctx, e, g.document); err != nil {
		return nil, err
	}
	go g.follow(ctx, e)
	return &logged{logger: e.logger}, nil
}

// follow applies the updates until ctx ends or there are no more.
func (g given) follow(ctx context.Context, e *enforcer) {
	for {
		select {
		case <-ctx.Done():
			return
		case document, open := <-g.updates:
			if !open {
				return
			}
			g.update(ctx, e, document)
		}
	}
}

// update applies one document. If it cannot be run, the previous document stays active.
func (g given) update(ctx context.Context, e *enforcer, document *compiled.Policy) {
	hash, err := g.apply(ctx, e, document)
	if err != nil {
		e.logger.ErrorContext(ctx, "changed policy refused, the previous policy stays active",
			"policy", g.document.Name, "inForce", e.current().hash, "error", err)
		return
	}
	e.logger.InfoContext(ctx, "changed policy active", "policy", document.Name, "document", hash)
}

// apply returns the document's hash, or an error that says why the sidecar cannot run it.
func (g given) apply(ctx context.Context, e *enforcer, document *compiled.Policy) (hash string, err error) {
	if document.Namespace != g.document.Namespace || document.Name != g.document.Name {
		return "", fmt.Errorf("it is the policy %s/%s; restart to run another policy", document.Namespace, document.Name)
	}
	encoded, err := compiled.Encode(document)
	if err != nil {
		return "", err
	}
	hash = compiled.Signed{Document: encoded}.Hash()
	return hash, e.apply(ctx, document, hash)
}
