package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	authnv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/document"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

// fleet is the sidecars of one policy: the code with which a sidecar gets its documents, without the rest of a sidecar.
type fleet struct {
	policy types.NamespacedName
	size   int

	mu sync.Mutex
	// at are the times at which sidecars got the newest generation.
	generation int64
	at         []time.Time
	changed    chan struct{} // closed and replaced when a sidecar got a document
}

func newFleet(policy types.NamespacedName) *fleet {
	return &fleet{policy: policy, changed: make(chan struct{})}
}

// got records that one sidecar runs a document.
func (f *fleet) got(_ context.Context, p *compiled.Policy, _ string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.Generation > f.generation {
		f.generation, f.at = p.Generation, nil
	}
	if p.Generation == f.generation {
		f.at = append(f.at, time.Now())
		close(f.changed)
		f.changed = make(chan struct{})
	}
	return nil
}

// await waits until every sidecar runs a generation, and returns when each one got it, in order.
func (f *fleet) await(ctx context.Context, generation int64) ([]time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, quietLimit)
	defer cancel()
	for {
		f.mu.Lock()
		at, done, changed := f.at, f.generation == generation && len(f.at) >= f.size, f.changed
		f.mu.Unlock()
		if done {
			return slices.Clone(at), nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for %d sidecars of policy %s, %d have the document: %w", f.size, f.policy, len(at), ctx.Err())
		case <-changed:
		}
	}
}

// join starts the long poll of a pod's sidecar, with the settings that the webhook injected, until ctx ends.
func (o *operators) join(ctx context.Context, f *fleet, p *corev1.Pod) error {
	container := sidecarOf(p)
	if container == nil {
		return fmt.Errorf("pod %s/%s has no sidecar", p.Namespace, p.Name)
	}
	env := map[string]string{}
	for _, e := range container.Env {
		env[e.Name] = e.Value
	}
	key, err := base64.StdEncoding.DecodeString(env[compiled.EnvDocumentKey])
	if err != nil {
		return fmt.Errorf("reading the key of documents: %w", err)
	}
	floor, _ := strconv.ParseInt(env[compiled.EnvDocumentFloor], 10, 64) // not set: 0
	token, err := o.token(ctx, p)
	if err != nil {
		return err
	}
	poller, err := document.NewPoller(document.PollConfig{
		URL: env[compiled.EnvOperatorURL], CA: []byte(env[compiled.EnvOperatorCA]), Token: token, Logger: slog.New(slog.DiscardHandler),
		Keeper: document.NewKeeper(document.Config{
			Namespace: p.Namespace, Policy: env[compiled.EnvPolicy], Key: key, Floor: floor, Apply: f.got, Version: "bench", Logger: slog.New(slog.DiscardHandler),
		}),
	})
	if err != nil {
		return err
	}
	go poller.Run(ctx)
	return nil
}

// constant is a secret that does not change.
type constant secret.Value

// Read implements secret.Source.
func (c constant) Read(context.Context) (secret.Value, error) { return secret.Value(c), nil }

// token requests a token as the kubelet does for the sidecar's volume.
func (o *operators) token(ctx context.Context, p *corev1.Pod) (secret.Source, error) {
	got, err := o.server.HTTP.CoreV1().ServiceAccounts(p.Namespace).CreateToken(ctx, p.Spec.ServiceAccountName, &authnv1.TokenRequest{
		Spec: authnv1.TokenRequestSpec{
			Audiences:      []string{compiled.OperatorAudience},
			BoundObjectRef: &authnv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: p.Name, UID: p.UID},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("requesting the token of pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	return constant(secret.New([]byte(got.Status.Token))), nil
}

// podsAtOnce is the number of pods that are created, or connected, at once: a pod waits in the API server for most of that time.
const podsAtOnce = 32

// fill creates the pods of fleets, and returns them in the fleets' order.
func (o *operators) fill(ctx context.Context, fleets []*fleet) ([]*corev1.Pod, error) {
	var pods []*corev1.Pod
	for _, f := range fleets {
		for i := range f.size {
			pods = append(pods, pod(f.policy.Namespace, fmt.Sprintf("%s-%d", f.policy.Name, i), f.policy.Name))
		}
	}
	return pods, each(ctx, podsAtOnce, len(pods), func(ctx context.Context, i int) error { return o.clients[i%len(o.clients)].Create(ctx, pods[i]) })
}
