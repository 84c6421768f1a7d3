package inject

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/contextlog"
	"github.com/posterndev/postern/controllers/flight"
	"github.com/posterndev/postern/controllers/index"
	"github.com/posterndev/postern/controllers/render"
)

// Path is the path of the webhook.
const Path = "/mutate-pods"

// Config configures a Handler.
type Config struct {
	// Policies finds the policy of a pod.
	Policies Policies
	// Reader reads from the informers' cache, Live from the API server.
	Reader, Live client.Reader
	Scheme       *runtime.Scheme
	// Settings returns the current settings. The operator's CA may change while the operator runs.
	Settings func() render.Settings
	// Registerer registers the handler's metrics.
	Registerer prometheus.Registerer
}

// Policies finds the policy that applies to a pod: see index.Index.
type Policies interface {
	// Select considers every policy that existed when it was called.
	Select(ctx context.Context, namespace string, podLabels map[string]string) (*v1alpha1.SecurityPolicy, error)
	// Known reads nothing, and may not know the newest policies. It returns nil if it knows none.
	Known(namespace string, podLabels map[string]string) *v1alpha1.SecurityPolicy
}

// Handler handles the API server's admission request for each new pod. It has no side effects.
type Handler struct {
	config       Config
	decoder      admission.Decoder
	preparations *flight.Group[preparation, Input]
	looked       *looked
	memo         *memo
	injections   *prometheus.CounterVec
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
		config:       config,
		decoder:      admission.NewDecoder(config.Scheme),
		preparations: flight.New[preparation, Input](flight.Config{Slots: preparations, Timeout: prepareTimeout}),
		looked:       newLooked(),
		memo:         newMemo(),
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
	policy, fresh, err := h.selected(ctx, namespace, pod)
	if err != nil {
		return nil, err
	}
	if policy == nil {
		return nil, unselected(pod)
	}
	of := preparation{policy.UID, policy.Name, policy.Generation}
	in, err := h.preparations.Do(ctx, of, func(ctx context.Context) (Input, error) { return h.prepare(ctx, policy) })
	if err == nil {
		in.Pod, in.Random = pod, rand.Reader
		var injected *corev1.Pod
		if injected, err = Inject(in); err == nil {
			if fresh {
				h.looked.add(namespace, injected, policy.UID)
			}
			return injected, nil
		}
	}
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return nil, refusef("policy %q selects this pod, but the pod cannot get its sidecar: %s", policy.Name, refusal.Message)
	}
	return nil, fmt.Errorf("injecting sidecar of policy %q: %w", policy.Name, err)
}

// selected returns the policy that applies to the pod; nil if none does. fresh says that it considers every policy. A pod is looked at
// once: if the webhook is invoked again for it, and the index still has the policy that was found, that decides.
func (h *Handler) selected(ctx context.Context, namespace string, pod *corev1.Pod) (policy *v1alpha1.SecurityPolicy, fresh bool, err error) {
	if found, ok := h.looked.policy(namespace, pod); ok {
		if known := h.config.Policies.Known(namespace, pod.Labels); known != nil && known.UID == found {
			return known, false, nil
		}
	}
	policy, err = h.config.Policies.Select(ctx, namespace, pod.Labels)
	if errors.Is(err, index.ErrTooMany) {
		return nil, true, refusef("%v", index.ErrTooMany)
	}
	return policy, true, err
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
