// Package validate is the validating webhook. It refuses a SecurityPolicy or a SidecarClass that no sidecar can run, and names
// every wrong field and what to write. It warns of fields that are valid but probably a mistake.
//
// The status reports the same findings a moment later. It is the safety net: if the operator is not running, is busy, or cannot
// read the objects that it needs, the object is admitted. Deletions and updates that do not change the spec are never refused:
// otherwise the finalizers of an object that became invalid could not be removed.
package validate

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/contextlog"
)

// Path is the path of the webhook.
const Path = "/validate"

const (
	// slots bounds the objects that are checked at once. timeout bounds the check of one object, including the wait for a
	// slot. It is shorter than the API server's timeout, so that the response can say why an object was not checked.
	slots   = 8
	timeout = 3 * time.Second
	// maxListed bounds the findings of each severity in a response.
	maxListed = 20
)

// Config configures a Handler.
type Config struct {
	// Reader reads from the API server, not from a cache: a policy and its class are often applied together.
	Reader client.Reader
	// Policies reads the policies of a namespace from the informers' cache: only warnings depend on them, and they can be many.
	Policies client.Reader
	// Count returns how many policies a namespace has.
	Count  func(namespace string) int
	Scheme *runtime.Scheme
	// Registerer registers the handler's metrics.
	Registerer prometheus.Registerer
	Now        func() time.Time
}

// Handler checks each object that is created or updated. It has no side effects.
type Handler struct {
	config      Config
	decoder     admission.Decoder
	slots       chan struct{}
	validations *prometheus.CounterVec
}

// Values of the metric's label "result".
const (
	resultAllowed  = "allowed"
	resultRefused  = "refused"
	resultUnjudged = "unjudged"
)

// NewHandler returns the handler and registers its metrics.
func NewHandler(config Config) (*Handler, error) {
	h := &Handler{
		config: config, decoder: admission.NewDecoder(config.Scheme), slots: make(chan struct{}, slots),
		validations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_validations_total",
			Help: "Objects of Postern that the validating webhook was called for, by result: allowed, refused, unjudged (admitted without a check, because the webhook was busy or could not read other objects).",
		}, []string{"result"}),
	}
	if err := config.Registerer.Register(h.validations); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	for _, result := range []string{resultAllowed, resultRefused, resultUnjudged} {
		h.validations.WithLabelValues(result)
	}
	return h, nil
}

// Handle refuses an object whose findings contain an Error. If the check itself fails, the object is admitted with a warning.
func (h *Handler) Handle(ctx context.Context, req admission.Request) admission.Response {
	if req.SubResource != "" || req.Operation != admissionv1.Create && req.Operation != admissionv1.Update {
		return admission.Allowed("")
	}
	findings, err := h.judge(ctx, req)
	logger := contextlog.From(ctx).With("kind", req.Kind.Kind)
	if err != nil {
		logger.WarnContext(ctx, "object admitted without a check", "error", err)
		h.validations.WithLabelValues(resultUnjudged).Inc()
		return admission.Allowed("").WithWarnings("postern did not check this object; its status will say whether it is valid: " + err.Error())
	}
	errs, warnings := texts(findings, compile.Error), texts(findings, compile.Warning)
	if len(errs) == 0 {
		h.validations.WithLabelValues(resultAllowed).Inc()
		return admission.Allowed("").WithWarnings(warnings...)
	}
	logger.InfoContext(ctx, "object refused", "reason", strings.Join(errs, "; "))
	h.validations.WithLabelValues(resultRefused).Inc()
	return admission.Denied("postern: no sidecar can run this: " + strings.Join(errs, "; ")).WithWarnings(warnings...)
}

// judge waits for a slot and returns the findings about the request's object.
func (h *Handler) judge(ctx context.Context, req admission.Request) ([]compile.Finding, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for other checks to finish: %w", ctx.Err())
	}
	switch req.Kind.Kind {
	case "SecurityPolicy":
		return judgeChange(ctx, h, req, &v1alpha1.SecurityPolicy{}, &v1alpha1.SecurityPolicy{}, h.policy)
	case "SidecarClass":
		return judgeChange(ctx, h, req, &v1alpha1.SidecarClass{}, &v1alpha1.SidecarClass{}, h.class)
	case "TokenRevocation":
		return judgeChange(ctx, h, req, &v1alpha1.TokenRevocation{}, &v1alpha1.TokenRevocation{}, h.revocation)
	}
	return nil, nil
}

// judgeChange decodes the object and its previous version into object and before. It calls judge unless the object is being
// deleted or the update changes nothing that is checked.
func judgeChange[T client.Object](ctx context.Context, h *Handler, req admission.Request, object, before T,
	judge func(context.Context, T) ([]compile.Finding, error),
) ([]compile.Finding, error) {
	if err := h.decoder.Decode(req, object); err != nil {
		return nil, fmt.Errorf("decoding object: %w", err)
	}
	if object.GetDeletionTimestamp() != nil {
		return nil, nil
	}
	if req.Operation == admissionv1.Update {
		if err := h.decoder.DecodeRaw(req.OldObject, before); err != nil {
			return nil, fmt.Errorf("decoding old object: %w", err)
		}
		if sameToJudge(before, object) {
			return nil, nil
		}
	}
	if object.GetNamespace() == "" {
		object.SetNamespace(req.Namespace)
	}
	return judge(ctx, object)
}

// texts returns the first findings of that severity, and the number of the others.
func texts(findings []compile.Finding, severity compile.Severity) []string {
	var out []string
	more := 0
	for _, f := range findings {
		switch {
		case f.Severity != severity:
		case len(out) == maxListed:
			more++
		default:
			out = append(out, f.String())
		}
	}
	if more > 0 {
		out = append(out, fmt.Sprintf("and %d more: postern lint -f FILE lists them", more))
	}
	return out
}
