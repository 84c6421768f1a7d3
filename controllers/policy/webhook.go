package policy

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// WebhookName is the name of the pod webhook in its MutatingWebhookConfiguration.
const WebhookName = "pods.postern.dev"

// notSelected is the problem of a namespace that the webhook leaves out, which the chart's values may intend. Otherwise the configuration
// is missing or was changed.
const notSelected = "does not select the namespace"

// remedy says what to do about a problem, and what happens meanwhile. The binding of the admission policy has the same selector as the
// chart's webhook, so it covers no namespace that the chart leaves out.
func remedy(problem string) string {
	if problem == notSelected {
		return "change the namespace's labels, or webhook.namespaceSelector of the chart. If the selector is not what the chart's values say, " +
			"somebody changed it: restore it with helm upgrade"
	}
	return "restore it with helm upgrade. The admission policy postern-backstop, if it is installed, refuses them meanwhile"
}

// webhookProblem says why the API server does not send every new pod of a namespace with these labels to the pod webhook; empty if it
// does. config is nil if it does not exist.
func webhookProblem(config *admissionv1.MutatingWebhookConfiguration, namespace map[string]string) string {
	if config == nil {
		return "is missing"
	}
	i := slices.IndexFunc(config.Webhooks, func(w admissionv1.MutatingWebhook) bool { return w.Name == WebhookName })
	if i < 0 {
		return fmt.Sprintf("has no webhook %q", WebhookName)
	}
	w := &config.Webhooks[i]
	selector, err := metav1.LabelSelectorAsSelector(w.NamespaceSelector)
	switch {
	case !slices.ContainsFunc(w.Rules, seesNewPods):
		return "has no rule for the creation of pods"
	case w.FailurePolicy != nil && *w.FailurePolicy != admissionv1.Fail:
		return fmt.Sprintf("has failurePolicy %s, so pods are admitted without a sidecar when the operator does not respond", *w.FailurePolicy)
	case w.ObjectSelector != nil && len(w.ObjectSelector.MatchLabels)+len(w.ObjectSelector.MatchExpressions) > 0:
		return "has an objectSelector, with which pods avoid their sidecar"
	case len(w.MatchConditions) > 0:
		return "has matchConditions, with which pods avoid their sidecar"
	case err != nil || w.NamespaceSelector != nil && !selector.Matches(labels.Set(namespace)):
		return notSelected
	}
	return ""
}

// WebhookProblem says why the API server does not send every new pod of a namespace with these labels to the pod webhook; empty if it does.
// config is nil if it does not exist. With the labels nil, the namespace selector is not looked at.
func WebhookProblem(config *admissionv1.MutatingWebhookConfiguration, namespace map[string]string) string {
	if config != nil && namespace == nil {
		config = config.DeepCopy()
		for i := range config.Webhooks {
			config.Webhooks[i].NamespaceSelector = nil
		}
	}
	return webhookProblem(config, namespace)
}

func seesNewPods(r admissionv1.RuleWithOperations) bool {
	either := func(list []string, want string) bool {
		return slices.Contains(list, want) || slices.Contains(list, "*")
	}
	create := slices.Contains(r.Operations, admissionv1.Create) || slices.Contains(r.Operations, admissionv1.OperationAll)
	return create && either(r.APIGroups, "") && either(r.APIVersions, "v1") && (either(r.Resources, "pods") || slices.Contains(r.Resources, "*/*"))
}

// gatherWebhook finds out whether new pods of the namespace are sent to the webhook.
func (r *Reconciler) gatherWebhook(ctx context.Context, o *observation) error {
	if r.cfg.Webhook == "" || !o.enabled {
		return nil
	}
	config, err := webhookConfiguration(ctx, r.cfg.Client, r.cfg.Webhook)
	if err != nil {
		return err
	}
	if problem := webhookProblem(config, o.labels); problem != "" {
		o.webhook = fmt.Sprintf("the MutatingWebhookConfiguration %q %s: %s", r.cfg.Webhook, problem, remedy(problem))
	}
	return nil
}

// webhookConfiguration returns the configuration; nil if it does not exist.
func webhookConfiguration(ctx context.Context, c client.Reader, name string) (*admissionv1.MutatingWebhookConfiguration, error) {
	config := &admissionv1.MutatingWebhookConfiguration{}
	err := c.Get(ctx, types.NamespacedName{Name: name}, config)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading MutatingWebhookConfiguration %q: %w", name, err)
	}
	return config, nil
}

// webhookInterval is the pause between two checks of a WebhookCheck.
const webhookInterval = 30 * time.Second

// WebhookCheck reports by a metric whether the pod webhook's configuration exists and is unchanged. It is a manager.Runnable that runs
// on every replica.
type WebhookCheck struct {
	reader client.Reader
	name   string
	log    *slog.Logger
	gauge  prometheus.Gauge
	last   string
}

// NewWebhookCheck returns the check of the MutatingWebhookConfiguration of that name, and registers its metric. Reader reads from the
// API server.
func NewWebhookCheck(reader client.Reader, name string, registerer prometheus.Registerer, log *slog.Logger) (*WebhookCheck, error) {
	w := &WebhookCheck{reader: reader, name: name, log: log, gauge: prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "postern_webhook_configured",
		Help: "1 if the MutatingWebhookConfiguration sends new pods to the operator; 0 if it is missing or was changed, so that new pods get no sidecar.",
	})}
	w.gauge.Set(1)
	if err := registerer.Register(w.gauge); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	return w, nil
}

// NeedLeaderElection says that every replica checks.
func (w *WebhookCheck) NeedLeaderElection() bool { return false }

// Start checks until ctx ends.
func (w *WebhookCheck) Start(ctx context.Context) error {
	ticker := time.NewTicker(webhookInterval)
	defer ticker.Stop()
	for {
		w.check(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// check sets the metric. If the configuration cannot be read, the metric stays.
func (w *WebhookCheck) check(ctx context.Context) {
	config, err := webhookConfiguration(ctx, w.reader, w.name)
	if err != nil {
		if ctx.Err() == nil {
			w.log.WarnContext(ctx, "the webhook's configuration cannot be checked", "error", err)
		}
		return
	}
	problem := WebhookProblem(config, nil) // which namespaces it selects is a matter of each policy's status
	if problem != "" {
		w.gauge.Set(0)
	} else {
		w.gauge.Set(1)
	}
	switch {
	case problem != "" && problem != w.last:
		w.log.ErrorContext(ctx, "new pods get no sidecar, because the MutatingWebhookConfiguration is missing or was changed: restore it with helm upgrade",
			"webhookConfiguration", w.name, "problem", problem)
	case problem == "" && w.last != "":
		w.log.InfoContext(ctx, "the MutatingWebhookConfiguration is restored", "webhookConfiguration", w.name)
	}
	w.last = problem
}
