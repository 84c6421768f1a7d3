//go:build !nocluster

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/v1alpha1"
)

// readInterval is the time between two reads of the object's status.
const readInterval = 200 * time.Millisecond

// createAndWait calls the function createAndWait with a client for the cluster.
func (a *access) createAndWait(ctx context.Context, r *v1alpha1.TokenRevocation, wait time.Duration, p printers) error {
	c, err := a.client(p.warnings)
	if err != nil {
		return err
	}
	return createAndWait(ctx, c, r, wait, p.progress)
}

// createAndWait creates the object, waits until it is enforced, and prints both events. It leaves the last version that it read in
// r. If the object is not enforced in time, the error says why.
func createAndWait(ctx context.Context, c client.Client, r *v1alpha1.TokenRevocation, wait time.Duration, progress io.Writer) error {
	began := time.Now()
	if err := c.Create(ctx, r); err != nil {
		return fmt.Errorf("creating token revocation: %w", err)
	}
	fmt.Fprintf(progress, "tokenrevocation/%s created in namespace %s\n", r.Name, r.Namespace)
	if wait <= 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if err := waitEnforced(ctx, c, r); err != nil {
		return fmt.Errorf("not enforced after %s: %w", time.Since(began).Round(time.Millisecond), err)
	}
	fmt.Fprintf(progress, "enforced after %s%s\n", time.Since(began).Round(time.Millisecond), counts(&r.Status))
	return nil
}

// waitEnforced reads the object until it is enforced, can never be enforced, or ctx ends. It retries failed reads, unless they are
// forbidden.
func waitEnforced(ctx context.Context, c client.Client, r *v1alpha1.TokenRevocation) error {
	var failed error
	for {
		now := &v1alpha1.TokenRevocation{}
		err := c.Get(ctx, client.ObjectKeyFromObject(r), now)
		switch {
		case err == nil:
			failed = nil
			now.DeepCopyInto(r)
			if done, err := judgeProof(r); done {
				return err
			}
		case apierrors.IsNotFound(err):
			return errors.New("the object was deleted")
		case apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err):
			return fmt.Errorf("the object was created, but its status cannot be read: %w", err)
		case ctx.Err() == nil:
			failed = err
		}
		select {
		case <-ctx.Done():
			_, why := judgeProof(r)
			return errors.Join(why, failed)
		case <-time.After(readInterval):
		}
	}
}

// judgeProof returns done if there is nothing more to wait for. why is the reason why the revocation is not enforced, or nil if it
// is enforced.
func judgeProof(r *v1alpha1.TokenRevocation) (done bool, why error) {
	enforced := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionEnforced)
	if enforced == nil || r.Status.ObservedGeneration != r.Generation {
		return false, errors.New("no operator has reconciled it yet")
	}
	if enforced.Status == metav1.ConditionTrue {
		return true, nil
	}
	final := []string{v1alpha1.ReasonNoPolicy, v1alpha1.ReasonTooMany, v1alpha1.ReasonExpired, v1alpha1.ReasonShadow}
	return slices.Contains(final, enforced.Reason), fmt.Errorf("%s: %s", enforced.Reason, enforced.Message)
}

// counts returns how many sidecars of which policies enforce the revocation, as the end of a sentence.
func counts(s *v1alpha1.TokenRevocationStatus) string {
	if s.Sidecars == nil {
		return ""
	}
	const most = 3
	policies := strings.Join(s.Policies[:min(len(s.Policies), most)], ", ")
	if more := len(s.Policies) - most; more > 0 {
		policies += " and " + count(more, "more policy", "more policies")
	}
	return fmt.Sprintf(": %s sidecars of %s", s.Sidecars.Summary, policies)
}
