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
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/inject"
	"github.com/posterndev/postern/controllers/policy"
	"github.com/posterndev/postern/controllers/revocation"
	"github.com/posterndev/postern/controllers/rollout"
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

// addWebhook serves the pod webhook and the validating webhook on every replica.
func (op *operator) addWebhook(context.Context) error {
	handler, err := inject.NewHandler(inject.Config{
		Reader: op.direct, Scheme: op.GetScheme(), Settings: op.settings, Registerer: metrics.Registry,
	})
	if err != nil {
		return fmt.Errorf("creating the pod webhook: %w", err)
	}
	op.GetWebhookServer().Register(inject.Path, &webhook.Admission{Handler: handler})
	validator, err := validate.NewHandler(validate.Config{
		Reader: op.direct, Scheme: op.GetScheme(), Registerer: metrics.Registry, Now: time.Now,
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
	op.GetWebhookServer().Register(validate.Path, &webhook.Admission{Handler: validator})
	return nil
}

// addReconcilers adds the reconcilers of policies, classes and revocations, which run on the leader.
func (op *operator) addReconcilers(context.Context) error {
	recorder := op.GetEventRecorder("postern.dev/operator")
	policies := policy.NewReconciler(policy.Config{
		Client: op.GetClient(), Live: op.direct, Key: op.key, Settings: op.settings, Events: recorder,
		Restarter: &rollout.Restarter{Reader: op.direct, Writer: op.direct, Now: time.Now},
		Excluded:  op.excludedNamespaces(),
		Webhook:   op.webhookConfiguration,
		Changed:   op.changed,
		Clock:     clock.RealClock{},
	})
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
