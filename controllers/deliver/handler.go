package deliver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/controllers/contextlog"
	"github.com/posterndev/postern/controllers/render"
)

// Defaults of Config.
const (
	defaultHold    = 25 * time.Second
	defaultMaxHeld = 20000
	// apiSlots bounds the TokenReviews, and the status patches, that are in progress at once: after a restart of the
	// operator, every sidecar needs one.
	apiSlots = 64
	// writeTimeout bounds writing a response, bodyTimeout reading a report.
	writeTimeout = 10 * time.Second
	bodyTimeout  = 10 * time.Second
)

// Config configures a Handler.
type Config struct {
	// Client creates TokenReviews and patches the status of pods. It should not be rate limited: the handler bounds its
	// own use.
	Client client.Client
	// Pods reads from the informers' cache, LivePods from the API server.
	Pods, LivePods client.Reader
	Documents      *Documents
	Registerer     prometheus.Registerer
	// Hold is the longest time that a poll is held; 25s if zero. Each poll ends up to a fifth earlier, to spread the load.
	Hold time.Duration
	// MaxHeld bounds the polls held at once; 20000 if zero.
	MaxHeld int
	// Clock is the real clock if nil.
	Clock clock.PassiveClock
}

// Handler serves compiled.PollPath. It responds with 200 and a compiled.Signed; 204 if there is no newer document; 400 to a
// report that cannot be read; 401 without a pod's token; 403 to a pod without a sidecar; 404 and 405 to other paths and
// methods; 429 to a pod that polls too often; 503 if the API server does not respond or too many polls are held.
type Handler struct {
	cfg     Config
	tokens  *authenticator
	acks    *acknowledger
	polls   *polls
	metrics *metrics
	// failures are the kinds of failures that were logged a while ago.
	failures *cache.LRUExpireCache
}

// NewHandler returns the handler.
func NewHandler(cfg Config) (*Handler, error) {
	if cfg.Hold == 0 {
		cfg.Hold = defaultHold
	}
	if cfg.MaxHeld == 0 {
		cfg.MaxHeld = defaultMaxHeld
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	h := &Handler{
		cfg:    cfg,
		tokens: newAuthenticator(cfg.Client, apiSlots, cfg.Clock),
		acks:   &acknowledger{pods: cfg.Client.Status(), slots: make(chan struct{}, apiSlots), now: cfg.Clock.Now},
		polls:  newPolls(cfg.MaxHeld, cfg.Clock.Now),

		failures: cache.NewLRUExpireCacheWithClock(16, cfg.Clock),
	}
	var err error
	h.metrics, err = newMetrics(cfg.Registerer)
	return h, err
}

// ServeHTTP serves one poll.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The deadline of the previous response on this connection has passed. (Not every ResponseWriter has deadlines.)
	deadlines := http.NewResponseController(w)
	_ = deadlines.SetWriteDeadline(time.Time{})
	body, err := h.poll(w, r)
	_ = deadlines.SetWriteDeadline(time.Now().Add(writeTimeout))
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case err != nil:
		h.metrics.responded(problem(w, err))
		contextlog.From(r.Context()).Log(r.Context(), h.levelOf(err), "poll refused", "remote", r.RemoteAddr, "error", err)
	case body == nil:
		h.metrics.responded(http.StatusNoContent)
		w.WriteHeader(http.StatusNoContent)
	default:
		h.metrics.responded(http.StatusOK)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body) // a client that has disconnected polls again
	}
}

// failureQuiet is the time in which a failure of the same kind is not logged again as a warning.
const failureQuiet = 10 * time.Minute

// levelOf returns Warn for the first poll that fails for a reason of the operator's own, such as a missing right, and Debug for those
// that follow and for the mistakes of clients.
func (h *Handler) levelOf(err error) slog.Level {
	var r *refusal
	if errors.As(err, &r) && (r.status != http.StatusServiceUnavailable || r.cause == nil || errors.Is(err, context.Canceled)) {
		return slog.LevelDebug
	}
	kind := "internal"
	if r != nil {
		kind = r.detail
	}
	if _, logged := h.failures.Get(kind); logged {
		return slog.LevelDebug
	}
	h.failures.Add(kind, nil, failureQuiet)
	return slog.LevelWarn
}

// poll authenticates, acknowledges and waits. It returns the signed document; nil if there is no newer one.
func (h *Handler) poll(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.URL.Path != compiled.PollPath {
		return nil, &refusal{status: http.StatusNotFound, detail: "the only path is " + compiled.PollPath}
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return nil, &refusal{status: http.StatusMethodNotAllowed, detail: "a poll must be a POST"}
	}
	id, err := h.authenticate(r)
	if err != nil {
		return nil, err
	}
	if err := h.enter(id.uid); err != nil {
		return nil, err
	}
	defer h.polls.leave(id.uid)
	report, err := readReport(w, r)
	if err != nil {
		return nil, err
	}
	pod, err := h.pod(r.Context(), id)
	if err != nil {
		return nil, err
	}
	policy, ok := BoundPolicy(pod)
	if !ok {
		return nil, &refusal{status: http.StatusForbidden, detail: "the pod has no Postern sidecar, so there is no document for it"}
	}
	return h.respond(r.Context(), pod, policy, report), nil
}

// respond returns the policy's document at once if the pod does not run it; otherwise it stores the report and waits for a
// newer document. The report of a sidecar that gets a new document is not stored, unless its write has begun: it is about to change.
func (h *Handler) respond(ctx context.Context, pod *corev1.Pod, policy string, report compiled.Report) []byte {
	name := types.NamespacedName{Namespace: pod.Namespace, Name: render.ConfigMapName(policy)}
	now, cancel := context.WithCancel(ctx)
	cancel()
	if body, ok := h.cfg.Documents.Next(now, name, report.Reads(), report.Hash, report.Refused); ok {
		return body
	}
	h.metrics.held.Inc()
	defer h.metrics.held.Dec()
	hold, cancel := context.WithTimeout(ctx, h.cfg.Hold-rand.N(h.cfg.Hold/5+1))
	defer cancel()
	stored := h.store(ctx, hold, pod, report)
	body, _ := h.cfg.Documents.Next(hold, name, report.Reads(), report.Hash, report.Refused)
	cancel()
	<-stored
	return body
}

// store stores the report if it differs from the last one. It closes the channel at the end: soon after hold, which bounds the wait for
// the reports of others. So the reports of many sidecars that got a new document are stored one after the other, and none of them waits
// for its sidecar's next poll.
func (h *Handler) store(ctx, hold context.Context, pod *corev1.Pod, report compiled.Report) <-chan struct{} {
	stored := make(chan struct{})
	patch, err := h.acks.patch(pod, report)
	if err == nil && patch == nil {
		close(stored)
		return stored
	}
	go func() {
		defer close(stored)
		if err == nil {
			err = h.acks.write(ctx, hold, pod, patch)
		}
		if err != nil && !errors.Is(err, context.Canceled) && ctx.Err() == nil && !apierrors.IsNotFound(err) {
			// The next poll tries again; delivering the document is more important.
			contextlog.From(ctx).Warn("a sidecar's report was not stored", "namespace", pod.Namespace, "pod", pod.Name, "error", err)
		}
	}()
	return stored
}

func (h *Handler) authenticate(r *http.Request) (podID, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || len(r.Header.Values("Authorization")) != 1 {
		return podID{}, &refusal{status: http.StatusUnauthorized, detail: "a poll must have exactly one bearer token: the pod's, for the audience " + compiled.OperatorAudience}
	}
	id, err := h.tokens.authenticate(r.Context(), strings.TrimSpace(token))
	switch {
	case errors.Is(err, errToken):
		return podID{}, &refusal{status: http.StatusUnauthorized, detail: errToken.Error(), cause: err}
	case err != nil:
		return podID{}, &refusal{status: http.StatusServiceUnavailable, detail: "the token cannot be reviewed at the moment", cause: err}
	}
	return id, nil
}

func (h *Handler) enter(pod types.UID) error {
	err := h.polls.enter(pod)
	switch {
	case errors.Is(err, errTooManyPolls):
		return &refusal{status: http.StatusTooManyRequests, detail: err.Error(), cause: err}
	case err != nil:
		return &refusal{status: http.StatusServiceUnavailable, detail: err.Error(), cause: err}
	}
	return nil
}

// pod returns the pod with exactly that UID: from the cache, or from the API server if the cache does not have it.
func (h *Handler) pod(ctx context.Context, id podID) (*corev1.Pod, error) {
	for _, reader := range []client.Reader{h.cfg.Pods, h.cfg.LivePods} {
		pod := &corev1.Pod{}
		err := reader.Get(ctx, id.NamespacedName, pod)
		if err == nil && pod.UID == id.uid {
			return pod, nil
		}
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, &refusal{
				status: http.StatusServiceUnavailable, detail: "the pod cannot be read at the moment",
				cause: fmt.Errorf("reading pod %q: %w", id.String(), err),
			}
		}
	}
	return nil, &refusal{status: http.StatusUnauthorized, detail: "the token's pod does not exist"}
}

func readReport(w http.ResponseWriter, r *http.Request) (compiled.Report, error) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Now().Add(bodyTimeout))
	defer func() { _ = c.SetReadDeadline(time.Time{}) }()
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, compiled.MaxReportSize))
	if err != nil {
		return compiled.Report{}, &refusal{
			status: http.StatusBadRequest, detail: fmt.Sprintf("the report cannot be read, or is larger than %d bytes", compiled.MaxReportSize), cause: err,
		}
	}
	report, err := compiled.DecodeReport(b)
	if err != nil {
		return compiled.Report{}, &refusal{status: http.StatusBadRequest, detail: "the report cannot be decoded", cause: err}
	}
	return report, nil
}
