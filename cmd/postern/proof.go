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

// lookEvery is how often the object's status is read.
const lookEvery = 200 * time.Millisecond

// createAndWait creates the object in the cluster; see the function of that name.
func (a *access) createAndWait(ctx context.Context, r *v1alpha1.TokenRevocation, wait time.Duration, p printers) error {
	c, err := a.client(p.warnings)
	if err != nil {
		return err
	}
	return createAndWait(ctx, c, r, wait, p.tell)
}

// createAndWait creates the object, waits for the proof that it is enforced, and tells of both. The object is then as it was
// last seen. Where there is no proof in time, the error says why.
func createAndWait(ctx context.Context, c client.Client, r *v1alpha1.TokenRevocation, wait time.Duration, tell io.Writer) error {
	began := time.Now()
	if err := c.Create(ctx, r); err != nil {
		return fmt.Errorf("creating token revocation: %w", err)
	}
	fmt.Fprintf(tell, "tokenrevocation/%s created in namespace %s\n", r.Name, r.Namespace)
	if wait <= 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if err := look(ctx, c, r); err != nil {
		return fmt.Errorf("not known to be enforced after %s: %w", time.Since(began).Round(time.Millisecond), err)
	}
	fmt.Fprintf(tell, "enforced after %s%s\n", time.Since(began).Round(time.Millisecond), counts(&r.Status))
	return nil
}

// look reads the object until it is enforced, or can never be, or ctx ends. A read that fails is tried again, but for one that
// is not allowed.
func look(ctx context.Context, c client.Client, r *v1alpha1.TokenRevocation) error {
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
			return errors.New("somebody deleted it")
		case apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err):
			return fmt.Errorf("whether it is cannot be seen, though it was created: %w", err)
		case ctx.Err() == nil:
			failed = err
		}
		select {
		case <-ctx.Done():
			_, why := judgeProof(r)
			return errors.Join(why, failed)
		case <-time.After(lookEvery):
		}
	}
}

// judgeProof says whether there is nothing to wait for, and why the revocation is not enforced; nil where it is.
func judgeProof(r *v1alpha1.TokenRevocation) (done bool, why error) {
	enforced := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionEnforced)
	if enforced == nil || r.Status.ObservedGeneration != r.Generation {
		return false, errors.New("no operator has looked at it yet")
	}
	if enforced.Status == metav1.ConditionTrue {
		return true, nil
	}
	final := []string{v1alpha1.ReasonNoPolicy, v1alpha1.ReasonTooMany, v1alpha1.ReasonExpired, v1alpha1.ReasonShadow}
	return slices.Contains(final, enforced.Reason), fmt.Errorf("%s: %s", enforced.Reason, enforced.Message)
}

// counts says how many sidecars of which policies refuse what is revoked, for the end of a sentence.
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
