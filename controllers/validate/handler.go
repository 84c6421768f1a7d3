// Package validate judges objects as they are applied: it refuses a SecurityPolicy or a SidecarClass that no sidecar can run,
// with every field and what to write, and warns of what is legal and probably not meant.
//
// It says what the status says, a moment earlier, and the status is the safety net: where the operator does not run, is busy,
// or cannot read what it judges by, the object is let in. An update that leaves the spec as it is, and a deletion, are never
// refused: an object that became invalid must not keep its finalizers.
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

// Path that the webhook is served at.
const Path = "/validate"

const (
	// slots bounds how many objects are judged at once, and patience how long one waits for its turn and is judged: less
	// than the API server waits, so that it learns why an object was not judged.
	slots    = 8
	patience = 3 * time.Second
	// maxListed bounds the findings of each severity in a response.
	maxListed = 20
)

// Config is what a Handler needs.
type Config struct {
	// Reader reads the API server itself, no cache: a policy is often applied in one file with its class.
	Reader client.Reader
	Scheme *runtime.Scheme
	// Registerer takes the handler's metrics.
	Registerer prometheus.Registerer
	Now        func() time.Time
}

// Handler judges each object that is created or updated. It has no side effects.
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
			Help: "Objects of Postern that the validating webhook was asked about, by what came of it: allowed, refused, unjudged (let in, as something it is judged by could not be read).",
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

// Handle refuses what has an Error among its findings. Whatever goes wrong, the object is let in with a warning.
func (h *Handler) Handle(ctx context.Context, req admission.Request) admission.Response {
	if req.SubResource != "" || req.Operation != admissionv1.Create && req.Operation != admissionv1.Update {
		return admission.Allowed("")
	}
	findings, err := h.judge(ctx, req)
	logger := contextlog.From(ctx).With("kind", req.Kind.Kind)
	if err != nil {
		logger.WarnContext(ctx, "object not judged, let in", "error", err)
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

// judge waits for its turn and returns what is wrong with the request's object.
func (h *Handler) judge(ctx context.Context, req admission.Request) ([]compile.Finding, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for others that are being checked: %w", ctx.Err())
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

// judgeChange decodes the object, and what it was before, into the given ones, and judges it where there is something new
// to judge.
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

// texts returns the first findings of that severity, and says how many there are more.
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
