package rights

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	authzv1 "k8s.io/api/authorization/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// reviews allows every right except the refused.
type reviews struct {
	client.Writer
	refused string
	err     error
}

func (r *reviews) Create(_ context.Context, object client.Object, _ ...client.CreateOption) error {
	review := object.(*authzv1.SelfSubjectAccessReview)
	review.Status.Allowed = review.Spec.ResourceAttributes.Resource != r.refused
	return r.err
}

func TestCheck(t *testing.T) {
	r := &reviews{}
	c, err := NewChecker(r, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	const right = "create tokenreviews.authentication.k8s.io"
	step := func(want []string, wantEvent bool) {
		t.Helper()
		if err := c.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := c.Missing(); !slices.Equal(got, want) {
			t.Errorf("missing is %v, want %v", got, want)
		}
		if got := testutil.ToFloat64(c.missing.WithLabelValues(right)); got != float64(len(want)) {
			t.Errorf("the metric is %v", got)
		}
		if got := len(c.changed) > 0; got != wantEvent {
			t.Errorf("announced: %t, want %t", got, wantEvent)
		}
		for len(c.changed) > 0 {
			<-c.changed
		}
	}
	step(nil, false)
	r.refused = "tokenreviews"
	step([]string{right}, true)
	step([]string{right}, false)
	r.refused = ""
	step(nil, true)
	r.err = errors.New("no connection")
	if err := c.Check(t.Context()); !errors.Is(err, r.err) || c.Missing() != nil {
		t.Errorf("got %v, missing %v", err, c.Missing())
	}
}
