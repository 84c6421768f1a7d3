// Package rights checks that the operator has the rights without which sidecars get no documents and policies no status. A role that
// somebody changed, or that an upgrade did not update, otherwise shows only as sidecars that never report.
package rights

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	authzv1 "k8s.io/api/authorization/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/contextlog"
)

// interval is the time between two checks.
const interval = 30 * time.Second

// needed are the rights that are checked. Asking for one's own rights needs none (SelfSubjectAccessReview).
var needed = []authzv1.ResourceAttributes{
	{Verb: "create", Group: "authentication.k8s.io", Resource: "tokenreviews"},
	{Verb: "patch", Resource: "pods", Subresource: "status"},
	{Verb: "create", Resource: "configmaps"},
	{Verb: "update", Resource: "configmaps"},
	{Verb: "patch", Group: v1alpha1.GroupVersion.Group, Resource: "securitypolicies", Subresource: "status"},
}

// Needed returns the rights that are checked.
func Needed() []authzv1.ResourceAttributes { return slices.Clone(needed) }

// Checker checks the rights periodically. It runs on every replica.
type Checker struct {
	reviews client.Writer
	missing *prometheus.GaugeVec
	changed chan event.GenericEvent
	mu      sync.Mutex
	names   []string
}

// NewChecker returns a checker that creates reviews with client, and registers its metric.
func NewChecker(reviews client.Writer, registerer prometheus.Registerer) (*Checker, error) {
	c := &Checker{
		reviews: reviews, changed: make(chan event.GenericEvent, 1),
		missing: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "postern_operator_missing_right",
			Help: "1 for each right that the operator needs and does not have, by right.",
		}, []string{"right"}),
	}
	for i := range needed {
		c.missing.WithLabelValues(nameOf(&needed[i]))
	}
	return c, registerer.Register(c.missing)
}

// Name names a right in the words of kubectl auth can-i.
func Name(a *authzv1.ResourceAttributes) string { return nameOf(a) }

func nameOf(a *authzv1.ResourceAttributes) string {
	name := a.Verb + " " + a.Resource
	if a.Group != "" {
		name += "." + a.Group
	}
	if a.Subresource != "" {
		name += "/" + a.Subresource
	}
	return name
}

// NeedLeaderElection returns false: every replica serves sidecars.
func (c *Checker) NeedLeaderElection() bool { return false }

// Start checks until ctx ends.
func (c *Checker) Start(ctx context.Context) error {
	for {
		if err := c.Check(ctx); err != nil && ctx.Err() == nil {
			contextlog.From(ctx).Warn("the operator's rights cannot be checked", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(interval):
		}
	}
}

// Check asks the API server once. If the missing rights are others than before, it logs and announces them.
func (c *Checker) Check(ctx context.Context) error {
	var names []string
	for i := range needed {
		review := &authzv1.SelfSubjectAccessReview{Spec: authzv1.SelfSubjectAccessReviewSpec{ResourceAttributes: needed[i].DeepCopy()}}
		if err := c.reviews.Create(ctx, review); err != nil {
			return fmt.Errorf("asking whether the operator may %s: %w", nameOf(&needed[i]), err)
		}
		missing := 0.0
		if !review.Status.Allowed {
			missing, names = 1, append(names, nameOf(&needed[i]))
		}
		c.missing.WithLabelValues(nameOf(&needed[i])).Set(missing)
	}
	c.mu.Lock()
	same := slices.Equal(names, c.names)
	c.names = names
	c.mu.Unlock()
	if same {
		return nil
	}
	if len(names) > 0 {
		contextlog.From(ctx).Error("the operator lacks rights: compare ClusterRole postern-operator and its binding with the chart's", "rights", strings.Join(names, ", "))
	} else {
		contextlog.From(ctx).Info("the operator has all rights again")
	}
	select {
	case c.changed <- event.GenericEvent{Object: &v1alpha1.SecurityPolicy{}}:
	default: // an announcement is waiting
	}
	return nil
}

// Missing names the missing rights, such as "create tokenreviews.authentication.k8s.io".
func (c *Checker) Missing() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.names)
}

// Changed receives an event when the missing rights change.
func (c *Checker) Changed() <-chan event.GenericEvent { return c.changed }
