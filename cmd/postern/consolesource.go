//go:build !nocluster

package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/cmd/postern/internal/console"
	"github.com/posterndev/postern/cmd/postern/internal/overview"
	"github.com/posterndev/postern/cmd/postern/internal/scrape"
)

const (
	// maxAsked bounds the pods that are asked for their top lists, each by a port-forward.
	maxAsked = 32
	// maxSamplers bounds the policies whose last read is kept.
	maxSamplers = 32
	// minSample is the shortest time between two reads of metrics.
	minSample = 2 * time.Second
	// rightLife is how long the answer of the API server about a right is used.
	rightLife = 30 * time.Second
	// topLimit is the length of the lists of attackers.
	topLimit = 10
)

// consoleSource reads the cluster for the console. It is safe for concurrent use.
type consoleSource struct {
	namespace, user string
	reader          client.Reader
	clients         kubernetes.Interface
	pods            *podReader
	trail           *consoleTrail

	mu       sync.Mutex
	samplers []*sampler
	rights   map[string]knownRight
}

type knownRight struct {
	console.Right
	until time.Time
}

func (s *consoleSource) close() { s.pods.close() }

// Observe implements console.Cluster.
func (s *consoleSource) Observe(ctx context.Context) (overview.Input, error) {
	return observe(ctx, s.reader, s.namespace)
}

// sampler reads the traffic of one policy, or of all. Rates need two reads, so it keeps the last one.
type sampler struct {
	of console.Name
	// turn is held by the request that reads.
	turn chan struct{}
	top  *topReader
	view scrape.View
}

// Traffic implements console.Sidecars.
func (s *consoleSource) Traffic(ctx context.Context, of console.Name) (scrape.View, error) {
	r := s.sampler(of)
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return scrape.View{}, ctx.Err()
	}
	if time.Since(r.view.Time) < minSample {
		return r.view, nil
	}
	view, err := r.top.read(ctx)
	if err == nil {
		r.view = view
	}
	return view, err
}

// sampler returns the sampler of a policy. The one that was used last is the last in the list.
func (s *consoleSource) sampler(of console.Name) *sampler {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.samplers, func(r *sampler) bool { return r.of == of })
	var r *sampler
	if i >= 0 {
		r = s.samplers[i]
		s.samplers = slices.Delete(s.samplers, i, i+1)
	} else {
		options := &topOptions{policy: of.Name, byPod: of.Name != "", accounts: true, addresses: true, limit: topLimit}
		r = &sampler{of: of, turn: make(chan struct{}, 1), top: &topReader{
			options: options, clients: s.clients, namespace: cmp.Or(of.Namespace, s.namespace), pods: s.pods, most: maxAsked, atOnce: true,
		}}
		if len(s.samplers) >= maxSamplers {
			s.samplers = s.samplers[1:]
		}
	}
	s.samplers = append(s.samplers, r)
	return r
}

// Right implements console.Sessions: the loopback API is reached by a port-forward.
func (s *consoleSource) Right(ctx context.Context, namespace string) console.Right {
	s.mu.Lock()
	known, ok := s.rights[namespace]
	s.mu.Unlock()
	if ok && time.Now().Before(known.until) {
		return known.Right
	}
	right := s.askRight(ctx, namespace)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rights == nil {
		s.rights = map[string]knownRight{}
	}
	s.rights[namespace] = knownRight{right, time.Now().Add(rightLife)}
	return right
}

func (s *consoleSource) askRight(ctx context.Context, namespace string) console.Right {
	for _, need := range []authorizationv1.ResourceAttributes{
		{Namespace: namespace, Verb: "list", Resource: "pods"}, {Namespace: namespace, Verb: "create", Resource: "pods", Subresource: "portforward"},
	} {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &need}}
		answer, err := s.clients.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return console.Right{Why: "the API server does not say what you may do: " + err.Error()}
		}
		if !answer.Status.Allowed {
			what := need.Resource
			if need.Subresource != "" {
				what += "/" + need.Subresource
			}
			return console.Right{Why: fmt.Sprintf("you may not %s %s in namespace %s", need.Verb, what, namespace)}
		}
	}
	return console.Right{Allowed: true}
}

// List implements console.Sessions.
func (s *consoleSource) List(ctx context.Context, of console.Subject) ([]console.Session, error) {
	var list sessionList
	err := s.at(ctx, of.Policy, func(ctx context.Context, api *loopbackAPI) error {
		return api.call(ctx, http.MethodGet, sessionsPath(of.Subject, of.Issuer), nil, &list)
	})
	out := make([]console.Session, len(list.Sessions))
	for i, found := range list.Sessions {
		out[i] = console.Session(found)
	}
	return out, err
}

// End implements console.Sessions.
func (s *consoleSource) End(ctx context.Context, of console.Subject, id string) (int, error) {
	ended := 1
	err := s.at(ctx, of.Policy, func(ctx context.Context, api *loopbackAPI) (err error) {
		if id != "" {
			return api.endSession(ctx, id)
		}
		ended, err = api.endSessions(ctx, of.Subject, of.Issuer)
		return err
	})
	if err != nil {
		return 0, err
	}
	return ended, nil
}

// at calls f with the loopback API of a pod that runs the policy. The forward to the pod is kept for the next call.
func (s *consoleSource) at(ctx context.Context, policy console.Name, f func(context.Context, *loopbackAPI) error) error {
	list, err := s.clients.CoreV1().Pods(policy.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing pods in namespace %q: %w", policy.Namespace, err)
	}
	pod, err := choose(list.Items, policy.Name)
	if err != nil {
		return fmt.Errorf("in namespace %q: %w", policy.Namespace, err)
	}
	return s.pods.at(ctx, pod, func(api *loopbackAPI) error {
		api.performedBy = s.user
		return f(ctx, api)
	})
}
