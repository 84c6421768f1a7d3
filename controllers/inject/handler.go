package inject

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/contextlog"
	"github.com/posterndev/postern/controllers/render"
)

// Path is the path of the webhook.
const Path = "/mutate-pods"

// Config configures a Handler.
type Config struct {
	// Reader reads from the API server, not from a cache: an outdated cache would admit pods without a sidecar if a policy was
	// applied just before.
	Reader client.Reader
	Scheme *runtime.Scheme
	// Settings returns the current settings. The operator's CA may change while the operator runs.
	Settings func() render.Settings
	// Registerer registers the handler's metrics.
	Registerer prometheus.Registerer
}

// Handler handles the API server's admission request for each new pod. It has no side effects.
type Handler struct {
	config     Config
	decoder    admission.Decoder
	injections *prometheus.CounterVec
}

// Values of the metric's label "result".
const (
	resultInjected   = "injected"
	resultUnselected = "unselected"
	resultRefused    = "refused"
	resultFailed     = "failed"
)

// NewHandler returns the handler and registers its metrics.
func NewHandler(config Config) (*Handler, error) {
	h := &Handler{
		config:  config,
		decoder: admission.NewDecoder(config.Scheme),
		injections: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_injections_total",
			Help: "New pods that the webhook was called for, by result: injected, unselected (no policy selects the pod), refused, failed.",
		}, []string{"result"}),
	}
	if err := config.Registerer.Register(h.injections); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	for _, result := range []string{resultInjected, resultUnselected, resultRefused, resultFailed} {
		h.injections.WithLabelValues(result)
	}
	return h, nil
}

// Handle injects the sidecar if a policy selects the pod. Every error refuses the pod.
func (h *Handler) Handle(ctx context.Context, req admission.Request) admission.Response {
	if req.Operation != admissionv1.Create || req.Resource.Resource != "pods" || req.SubResource != "" {
		return admission.Allowed("")
	}
	result, response := h.admit(ctx, req)
	h.injections.WithLabelValues(result).Inc()
	return response
}

func (h *Handler) admit(ctx context.Context, req admission.Request) (string, admission.Response) {
	logger := contextlog.From(ctx)
	pod := &corev1.Pod{}
	if err := h.decoder.Decode(req, pod); err != nil {
		logger.ErrorContext(ctx, "pod not decoded", "error", err)
		return resultFailed, admission.Errored(http.StatusBadRequest, fmt.Errorf("decoding pod: %w", err))
	}
	logger = logger.With("generateName", pod.GenerateName)
	injected, err := h.inject(ctx, req.Namespace, pod)
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		logger.InfoContext(ctx, "pod refused", "reason", err.Error())
		return resultRefused, admission.Denied("postern: " + err.Error())
	case err != nil:
		logger.ErrorContext(ctx, "pod not injected", "error", err)
		return resultFailed, admission.Errored(http.StatusInternalServerError, fmt.Errorf("postern: %w", err))
	case injected == nil:
		return resultUnselected, admission.Allowed("no SecurityPolicy selects the pod")
	}
	ops, err := patch(pod, injected)
	if err != nil {
		logger.ErrorContext(ctx, "pod not injected", "error", err)
		return resultFailed, admission.Errored(http.StatusInternalServerError, fmt.Errorf("postern: %w", err))
	}
	logger.DebugContext(ctx, "pod injected", "policy", injected.Annotations[render.PolicyAnnotation])
	return resultInjected, admission.Patched("", ops...)
}

// inject returns the pod with its sidecar; nil if no policy selects it.
func (h *Handler) inject(ctx context.Context, namespace string, pod *corev1.Pod) (*corev1.Pod, error) {
	policies := &v1alpha1.SecurityPolicyList{}
	if err := h.config.Reader.List(ctx, policies, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("listing policies: %w", err)
	}
	// A policy that is being deleted has no document for new pods.
	active := slices.DeleteFunc(policies.Items, func(p v1alpha1.SecurityPolicy) bool { return p.DeletionTimestamp != nil })
	policy := compile.Select(active, pod.Labels)
	if policy == nil {
		return nil, unselected(pod)
	}
	in, err := h.input(ctx, pod, policy)
	if err == nil {
		var injected *corev1.Pod
		if injected, err = Inject(in); err == nil {
			return injected, nil
		}
	}
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return nil, refusef("policy %q selects this pod, but the pod cannot get its sidecar: %s", policy.Name, refusal.Message)
	}
	return nil, fmt.Errorf("injecting sidecar of policy %q: %w", policy.Name, err)
}

// input gathers the input of Inject.
func (h *Handler) input(ctx context.Context, pod *corev1.Pod, policy *v1alpha1.SecurityPolicy) (Input, error) {
	classes := &v1alpha1.SidecarClassList{}
	if err := h.config.Reader.List(ctx, classes); err != nil {
		return Input{}, fmt.Errorf("listing classes: %w", err)
	}
	class, err := compile.ResolveClass(policy, classes.Items)
	if err != nil {
		return Input{}, refusef("%v", err)
	}
	last, err := h.last(ctx, policy)
	if err != nil {
		return Input{}, err
	}
	document, err := documentFor(policy, classes.Items, last)
	if err != nil {
		return Input{}, err
	}
	sidecar := h.sidecar(document, policy, class)
	sidecar.Floor = compile.Floor(policy, last)
	namespace := &corev1.Namespace{}
	if err := h.config.Reader.Get(ctx, client.ObjectKey{Name: policy.Namespace}, namespace); err != nil {
		return Input{}, fmt.Errorf("reading namespace: %w", err)
	}
	return Input{
		Pod:             pod,
		Sidecar:         sidecar,
		NamespaceLabels: namespace.Labels,
		Random:          rand.Reader,
	}, nil
}

// last returns the document in the policy's ConfigMap; nil if there is none that the operator signed for this policy.
func (h *Handler) last(ctx context.Context, policy *v1alpha1.SecurityPolicy) (*compiled.Policy, error) {
	cm := &corev1.ConfigMap{}
	name := client.ObjectKey{Namespace: policy.Namespace, Name: render.ConfigMapName(policy.Name)}
	err := h.config.Reader.Get(ctx, name, cm)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading ConfigMap %q: %w", name, err)
	}
	documents, err := render.Reader{Key: h.config.Settings().DocumentKey}.Open(cm, policy.Name)
	if err != nil {
		return nil, nil // package policy replaces it, or reports that the name is taken
	}
	return documents[0].Policy, nil
}

// documentFor returns the document for which the pod's sidecar is rendered: that of the current policy, or the last good one if
// the policy cannot be compiled. If the selector is invalid, the pod is refused, because it is unknown which pods the policy
// selects.
func documentFor(policy *v1alpha1.SecurityPolicy, classes []v1alpha1.SidecarClass, last *compiled.Policy) (*compiled.Policy, error) {
	intent := compile.Intend(compile.Input{Policy: policy, Classes: classes, Last: compile.Current(policy, last)})
	unread := slices.ContainsFunc(intent.Findings, func(f compile.Finding) bool {
		return f.Severity == compile.Error && f.Field == "spec.selector"
	})
	if intent.Document == nil || unread {
		return nil, refusef("the policy is invalid, correct it: %s", describe(intent.Findings))
	}
	return intent.Document, nil
}

func (h *Handler) sidecar(document *compiled.Policy, policy *v1alpha1.SecurityPolicy, class *v1alpha1.SidecarClass) render.Sidecar {
	return render.Sidecar{
		Policy:       document,
		Class:        class,
		Interception: compile.Interception(policy, class),
		Settings:     h.config.Settings(),
	}
}

// maxFindings bounds how many findings a refusal quotes.
const maxFindings = 3

func describe(findings []compile.Finding) string {
	var texts []string
	for _, f := range findings {
		if f.Severity == compile.Error && len(texts) < maxFindings {
			texts = append(texts, f.String())
		}
	}
	return strings.Join(texts, "; ")
}
