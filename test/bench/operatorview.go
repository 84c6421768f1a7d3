package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/render"
	"github.com/posterndev/postern/test/apiserver"
)

// view is what the API server says about policies and their documents, by watches of the bench.
type view struct {
	mu       sync.Mutex
	policies map[types.NamespacedName]policyState
	// documents are the generations of the policies in their documents, by ConfigMap.
	documents map[types.NamespacedName]int64
	total     policyState
	changed   chan struct{} // closed and replaced with each event
}

// policyState is what matters of a policy's status. Of the total, each field is a sum.
type policyState struct {
	// generation is the policy's own.
	generation int64
	// ready is 1 if the condition Ready is True for this generation, and enforced if Enforced is.
	ready, enforced            int
	matched, injected, current int
}

func (s *policyState) add(t policyState, sign int) {
	s.ready += sign * t.ready
	s.enforced += sign * t.enforced
	s.matched += sign * t.matched
	s.injected += sign * t.injected
	s.current += sign * t.current
}

func stateOf(p *v1alpha1.SecurityPolicy) policyState {
	holds := func(kind string) int {
		c := meta.FindStatusCondition(p.Status.Conditions, kind)
		if c != nil && c.Status == "True" && c.ObservedGeneration == p.Generation {
			return 1
		}
		return 0
	}
	s := policyState{generation: p.Generation, ready: holds(v1alpha1.ConditionReady), enforced: holds(v1alpha1.ConditionEnforced)}
	if pods := p.Status.Pods; pods != nil {
		s.matched, s.injected, s.current = int(pods.Matched), int(pods.Injected), int(pods.Current)
	}
	return s
}

// newView watches until ctx ends.
func newView(ctx context.Context, server *apiserver.Server) (*view, error) {
	v := &view{policies: map[types.NamespacedName]policyState{}, documents: map[types.NamespacedName]int64{}, changed: make(chan struct{})}
	managed, err := labels.NewRequirement(render.PolicyLabel, selection.Exists, nil)
	if err != nil {
		return nil, err
	}
	caches, err := cache.New(server.Config, cache.Options{Scheme: server.Scheme(), ByObject: map[client.Object]cache.ByObject{
		&corev1.ConfigMap{}: {Label: labels.NewSelector().Add(*managed)},
	}})
	if err != nil {
		return nil, fmt.Errorf("watching the API server: %w", err)
	}
	for object, store := range map[client.Object]func(any){&v1alpha1.SecurityPolicy{}: v.storePolicy, &corev1.ConfigMap{}: v.storeDocument} {
		informer, err := caches.GetInformer(ctx, object, cache.BlockUntilSynced(false))
		if err != nil {
			return nil, fmt.Errorf("watching the API server: %w", err)
		}
		if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc: store, UpdateFunc: func(_, now any) { store(now) },
		}); err != nil {
			return nil, fmt.Errorf("watching the API server: %w", err)
		}
	}
	go func() { _ = caches.Start(ctx) }() // its only error is that ctx has ended
	if !caches.WaitForCacheSync(ctx) {
		return nil, fmt.Errorf("watching the API server: %w", ctx.Err())
	}
	return v, nil
}

func (v *view) storePolicy(object any) {
	p, ok := object.(*v1alpha1.SecurityPolicy)
	if !ok {
		return
	}
	name, state := client.ObjectKeyFromObject(p), stateOf(p)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.total.add(v.policies[name], -1)
	v.total.add(state, 1)
	v.policies[name] = state
	v.wake()
}

func (v *view) storeDocument(object any) {
	cm, ok := object.(*corev1.ConfigMap)
	if !ok {
		return
	}
	signed, found, err := render.Signed(cm, 1)
	var head struct{ Generation int64 }
	if err != nil || !found || json.Unmarshal(signed.Document, &head) != nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.documents[client.ObjectKeyFromObject(cm)] = head.Generation
	v.wake()
}

func (v *view) wake() {
	close(v.changed)
	v.changed = make(chan struct{})
}

// is reports whether a policy's status is of this generation, and satisfies holds. The lock is held.
func (v *view) is(name types.NamespacedName, generation int64, holds func(policyState) bool) bool {
	s := v.policies[name]
	return s.generation >= generation && holds(s)
}

func isReady(s policyState) bool { return s.ready == 1 }

// await waits until until returns true. It is called with the view's lock held. An operator that ends meanwhile is an error.
func (o *operators) await(ctx context.Context, what string, until func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, quietLimit)
	defer cancel()
	v := o.view
	for {
		v.mu.Lock()
		done, changed, total := until(), v.changed, v.total
		v.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s, with %+v: %w", what, total, ctx.Err())
		case <-o.process.done:
			return fmt.Errorf("waiting for %s: %w", what, o.process.ended())
		case <-changed:
		}
	}
}
