package certs

import (
	"context"
	"fmt"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// NeedLeaderElection says that every replica manages its certificate.
func (k *Keeper) NeedLeaderElection() bool { return false }

// Start calls Ensure until ctx ends: at once if the Secret or the webhook's configuration changes (as an upgrade of the chart
// may do), and periodically.
func (k *Keeper) Start(ctx context.Context) error {
	changed := make(chan struct{}, 1)
	watched := map[string]func() (watch.Interface, error){
		"Secret": func() (watch.Interface, error) {
			return k.cfg.Client.Watch(ctx, &corev1.SecretList{}, client.InNamespace(k.cfg.Secret.Namespace), named(k.cfg.Secret.Name))
		},
	}
	if k.cfg.Mode == Own {
		watched["MutatingWebhookConfiguration"] = func() (watch.Interface, error) {
			return k.cfg.Client.Watch(ctx, &admissionv1.MutatingWebhookConfigurationList{}, named(k.cfg.Webhook))
		}
		if k.cfg.Validating != "" {
			watched["ValidatingWebhookConfiguration"] = func() (watch.Interface, error) {
				return k.cfg.Client.Watch(ctx, &admissionv1.ValidatingWebhookConfigurationList{}, named(k.cfg.Validating))
			}
		}
	}
	for kind, open := range watched {
		go k.follow(ctx, kind, open, changed)
	}
	failing := outage{what: "the certificates cannot be checked or renewed", ended: "the certificates can be checked and renewed again"}
	for {
		wait := recheck
		err := k.Ensure(ctx)
		if err != nil {
			wait = retry
		}
		failing.observe(ctx, err)
		if !sleep(ctx, wait, changed) {
			return nil
		}
	}
}

// follow signals every change that a watch reports, and opens the watch again when it ends.
func (k *Keeper) follow(ctx context.Context, kind string, open func() (watch.Interface, error), changed chan<- struct{}) {
	failing := outage{what: "a watch cannot be opened", ended: "a watch can be opened again", kind: kind}
	for {
		failing.observe(ctx, signalChanges(open, changed))
		if !sleep(ctx, retry, nil) {
			return
		}
	}
}

func signalChanges(open func() (watch.Interface, error), changed chan<- struct{}) error {
	w, err := open()
	if err != nil {
		return fmt.Errorf("opening watch: %w", err)
	}
	defer w.Stop()
	for range w.ResultChan() {
		select {
		case changed <- struct{}{}:
		default: // a signal is already waiting
		}
	}
	return nil
}

// sleep waits for d or a signal, and reports whether ctx has not ended.
func sleep(ctx context.Context, d time.Duration, signal <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-signal:
	case <-timer.C:
	}
	return true
}

func named(name string) client.MatchingFieldsSelector {
	return client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("metadata.name", name)}
}
