package server

import (
	"context"
	"fmt"

	"github.com/posterndev/postern/api/compiled"
)

// follow applies the documents that Updates brings, in the background, until ctx ends or stop is called. It returns from stop
// when no document is being applied any more.
func (s Standalone) follow(ctx context.Context, c *core) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case document, open := <-s.Updates:
				if !open {
					return
				}
				s.update(ctx, c, document)
			}
		}
	}()
	return func() { cancel(); <-done }
}

// update applies one document. One that cannot be run changes nothing: the document before it stays in force.
func (s Standalone) update(ctx context.Context, c *core, document *compiled.Policy) {
	hash, err := s.replace(ctx, c, document)
	if err != nil {
		s.Logger.ErrorContext(ctx, "changed policy refused, the policy before it stays in force",
			"policy", s.Document.Name, "inForce", c.status().hash, "error", err)
		return
	}
	s.Logger.InfoContext(ctx, "changed policy in force", "policy", document.Name, "document", hash)
}

// replace returns the document's hash, or why the sidecar cannot run it.
func (s Standalone) replace(ctx context.Context, c *core, document *compiled.Policy) (hash string, err error) {
	if document.Namespace != s.Document.Namespace || document.Name != s.Document.Name {
		return "", fmt.Errorf("it is policy %s/%s: restart to run another policy", document.Namespace, document.Name)
	}
	encoded, err := compiled.Encode(document)
	if err != nil {
		return "", err
	}
	hash = compiled.Signed{Document: encoded}.Hash()
	return hash, c.apply(ctx, document, hash)
}
