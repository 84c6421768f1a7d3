package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/gate"
	"github.com/posterndev/postern/controllers/index"
	"github.com/posterndev/postern/controllers/inject"
	"github.com/posterndev/postern/controllers/policy"
	"github.com/posterndev/postern/controllers/refused"
	"github.com/posterndev/postern/controllers/revocation"
	"github.com/posterndev/postern/controllers/rights"
	"github.com/posterndev/postern/controllers/rollout"
	"github.com/posterndev/postern/controllers/transition"
	"github.com/posterndev/postern/controllers/validate"
)

// addDelivery serves the long poll on every replica, from informers of pods and documents.
func (op *operator) addDelivery(ctx context.Context) error {
	documents := deliver.NewDocuments(op.key.Public().(ed25519.PublicKey), op.log)
	configMaps, err := op.GetCache().GetInformer(ctx, &corev1.ConfigMap{}, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watching documents: %w", err)
	}
	if _, err := configMaps.AddEventHandler(documents); err != nil {
		return fmt.Errorf("watching documents: %w", err)
	}
	if _, err := op.GetCache().GetInformer(ctx, &corev1.Pod{}, cache.BlockUntilSynced(false)); err != nil {
		return fmt.Errorf("watching pods: %w", err)
	}
	handler, err := deliver.NewHandler(deliver.Config{
		Client: op.direct, Pods: op.GetClient(), LivePods: op.direct, Documents: documents, Registerer: metrics.Registry,
	})
	if err != nil {
		return fmt.Errorf("creating the long poll: %w", err)
	}
	if err := op.Add(&deliver.Server{
		Addr: fmt.Sprintf(":%d", op.deliverPort), Handler: handler, Certificate: op.keeper.GetCertificate,
	}); err != nil {
		return fmt.Errorf("adding the long poll: %w", err)
	}
	return nil
}

// Budgets of the webhooks, in bytes of the reviews in progress. Each byte takes about ten while it is decoded and patched.
const (
	podBudget    = 6 << 20
	objectBudget = 4 << 20
)

// addWebhook serves the pod webhook and the validating webhook on every replica.
func (op *operator) addWebhook(ctx context.Context) error {
	policies, err := op.index(ctx)
	if err != nil {
		return fmt.Errorf("creating the index of policies: %w", err)
	}
	op.policies = policies
	handler, err := inject.NewHandler(inject.Config{
		Policies: policies, Reader: op.GetClient(), Live: op.direct, Scheme: op.GetScheme(), Settings: op.settings, Registerer: metrics.Registry,
	})
	if err != nil {
		return fmt.Errorf("creating the pod webhook: %w", err)
	}
	validator, err := validate.NewHandler(validate.Config{
		Reader: op.direct, Policies: op.GetClient(), Count: policies.Count, Scheme: op.GetScheme(), Registerer: metrics.Registry, Now: time.Now,
	})
	if err != nil {
		return fmt.Errorf("creating the validating webhook: %w", err)
	}
	check, err := policy.NewWebhookCheck(op.direct, op.webhookConfiguration, metrics.Registry, op.log)
	if err != nil {
		return fmt.Errorf("checking the webhook's configuration: %w", err)
	}
	if err := op.Add(check); err != nil {
		return fmt.Errorf("checking the webhook's configuration: %w", err)
	}
	reviews, err := gate.New(metrics.Registry)
	if err != nil {
		return fmt.Errorf("bounding the webhooks: %w", err)
	}
	server := op.GetWebhookServer()
	server.Register(inject.Path, reviews.Wrap(&webhook.Admission{Handler: handler}, podBudget))
	server.Register(validate.Path, reviews.Wrap(&webhook.Admission{Handler: validator}, objectBudget))
	return nil
}

// index returns the index of policies, which the informer feeds on every replica.
func (op *operator) index(ctx context.Context) (*index.Index, error) {
	lister, err := index.NewKeyLister(op.GetConfig())
	if err != nil {
		return nil, err
	}
	x, err := index.New(index.Config{Lister: lister, Live: op.direct, Registerer: metrics.Registry})
	if err != nil {
		return nil, err
	}
	informer, err := op.GetCache().GetInformer(ctx, &v1alpha1.SecurityPolicy{}, cache.BlockUntilSynced(false))
	if err != nil {
		return nil, fmt.Errorf("watching policies: %w", err)
	}
	for _, h := range []toolscache.ResourceEventHandler{x, op.trimmer} {
		if _, err := informer.AddEventHandler(h); err != nil {
			return nil, fmt.Errorf("watching policies: %w", err)
		}
	}
	return x, nil
}

// addReconcilers adds the reconcilers of policies, classes and revocations, which run on the leader.
func (op *operator) addReconcilers(context.Context) error {
	recorder := &transition.Recorder{Events: op.GetEventRecorder("postern.dev/operator"), Ending: op.ending}
	checker, err := rights.NewChecker(op.direct, metrics.Registry)
	if err != nil {
		return fmt.Errorf("checking the operator's rights: %w", err)
	}
	if err := op.Add(checker); err != nil {
		return fmt.Errorf("checking the operator's rights: %w", err)
	}
	refusals, err := op.watchRefused()
	if err != nil {
		return fmt.Errorf("watching refused pods: %w", err)
	}
	policies := policy.NewReconciler(policy.Config{
		Rights: checker, Refused: refusals,
		Client: op.GetClient(), Live: op.direct, Key: op.key, Settings: op.settings, Events: recorder,
		Restarter: &rollout.Restarter{Reader: op.direct, Writer: op.direct, Now: time.Now},
		Excluded:  op.excludedNamespaces(),
		Webhook:   op.webhookConfiguration,
		Changed:   op.changed,
		Clock:     clock.RealClock{},
	})
	if err := policy.RegisterConditions(op.GetClient(), metrics.Registry); err != nil {
		return err
	}
	if err := policies.SetupWithManager(op); err != nil {
		return fmt.Errorf("adding the reconciler of policies: %w", err)
	}
	if err := (&policy.ClassReconciler{Client: op.GetClient()}).SetupWithManager(op); err != nil {
		return fmt.Errorf("adding the reconciler of classes: %w", err)
	}
	revocations := revocation.NewReconciler(revocation.Config{
		Client: op.GetClient(), Key: op.key.Public().(ed25519.PublicKey), Events: recorder, Clock: clock.RealClock{},
	})
	if err := revocations.SetupWithManager(op); err != nil {
		return fmt.Errorf("adding the reconciler of token revocations: %w", err)
	}
	return nil
}

// watchRefused watches the workloads whose pods the API server refuses.
func (op *operator) watchRefused() (*refused.Watcher, error) {
	w, err := refused.NewWatcher(refused.Config{
		Watch: op.direct, Reader: op.direct, Clock: clock.RealClock{}, Registerer: metrics.Registry,
		Policed: func(namespace string) bool { return op.policies.Count(namespace) > 0 },
		Selects: func(namespace string, podLabels map[string]string) bool {
			return op.policies.Known(namespace, podLabels) != nil
		},
	})
	if err != nil {
		return nil, err
	}
	return w, op.Add(w)
}

// ending reports whether a namespace is being deleted, or does not exist any more.
func (op *operator) ending(name string) bool {
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	err := op.GetClient().Get(context.Background(), client.ObjectKey{Name: name}, namespace)
	return apierrors.IsNotFound(err) || err == nil && namespace.DeletionTimestamp != nil
}

// informersSynced is ready when all informers are synced.
type informersSynced struct {
	cache  cache.Cache
	synced atomic.Bool
}

// NeedLeaderElection returns false, because every replica has informers.
func (i *informersSynced) NeedLeaderElection() bool { return false }

// Start waits for the informers.
func (i *informersSynced) Start(ctx context.Context) error {
	i.synced.Store(i.cache.WaitForCacheSync(ctx))
	return nil
}

// Ready is a readiness check.
func (i *informersSynced) Ready(*http.Request) error {
	if !i.synced.Load() {
		return errors.New("the informers are not synced yet")
	}
	return nil
}
