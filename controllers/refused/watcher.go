// Package refused knows the workloads whose pods the API server does not accept: Pod Security, a quota, a LimitRange, a webhook, or the
// operator itself. A refused pod is stored nowhere. What remains is an event of its ReplicaSet, StatefulSet, DaemonSet or Job, which
// also carries what another replica of the operator refused.
//
// The events only say where to look. They can be forged by anyone who may create events in the namespace, so the workload itself says
// how many pods are missing.
package refused

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/posterndev/postern/controllers/contextlog"
	"github.com/posterndev/postern/controllers/status"
)

// +kubebuilder:rbac:groups="",resources=events,verbs=watch
// +kubebuilder:rbac:groups=apps,resources=replicasets,verbs=get
// +kubebuilder:rbac:groups=batch,resources=jobs,verbs=get

const (
	// failedCreate is the reason of the event with which a controller reports a pod that it cannot create.
	failedCreate = "FailedCreate"
	// refresh is the time between two reads of the workloads, and retry that between two watches that failed. No event causes a read
	// at once: users who may create events could cause any number of them.
	refresh = 10 * time.Second
	retry   = 30 * time.Second
	// grace is how long a workload without missing pods is kept after its last event: its status may lag behind.
	grace = time.Minute
	// Bounds of what is remembered. Further workloads are ignored until the others have their pods.
	maxOfNamespace = 16
	maxWorkloads   = 512
)

// Config configures a Watcher.
type Config struct {
	// Watch watches events, and Reader reads workloads. Both use the API server.
	Watch  client.WithWatch
	Reader client.Reader
	// Selects reports whether a policy selects pods with the labels. Policed reports whether the namespace has any policy.
	Selects    func(namespace string, podLabels map[string]string) bool
	Policed    func(namespace string) bool
	Clock      clock.WithTicker
	Registerer prometheus.Registerer
}

// Watcher watches the events of refused pods. It runs on the leader, which writes the status.
type Watcher struct {
	cfg     Config
	pods    *prometheus.GaugeVec
	changed chan event.GenericEvent
	mu      sync.Mutex
	// workloads has at most maxWorkloads.
	workloads map[key]*entry
}

// key names a workload.
type key struct{ namespace, group, kind, name string }

// entry is what is known of a workload.
type entry struct {
	// text is the API server's message, without what differs between pods.
	text  string
	heard time.Time
	// labels are those of the pods; nil before the first read.
	labels map[string]string
	count  int32
	// told is the text and count that were announced.
	told string
}

// Refusal says that pods of a workload were refused.
type Refusal struct {
	status.Refusal
	// Labels are those of the pods.
	Labels map[string]string
}

// NewWatcher returns a Watcher and registers its metric.
func NewWatcher(cfg Config) (*Watcher, error) {
	w := &Watcher{
		cfg: cfg, changed: make(chan event.GenericEvent), workloads: map[key]*entry{},
		pods: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "postern_refused_pods",
			Help: "Pods that a policy selects and that their workload cannot create, because the API server refuses them, by namespace. Only the leader reports it.",
		}, []string{"namespace"}),
	}
	return w, cfg.Registerer.Register(w.pods)
}

// Changed receives a pod with a namespace and labels, as a refused pod would have, whenever what is known about such pods changes.
func (w *Watcher) Changed() <-chan event.GenericEvent { return w.changed }

// Start watches until ctx ends. Without the right to watch events, it tries again and again.
func (w *Watcher) Start(ctx context.Context) error {
	ticker := w.cfg.Clock.NewTicker(refresh)
	defer ticker.Stop()
	for warned := false; ctx.Err() == nil; {
		// Without a resourceVersion, a watch starts with the events that exist. They arrive one by one, and none is kept.
		events, err := w.cfg.Watch.Watch(ctx, &corev1.EventList{}, client.MatchingFields{"reason": failedCreate})
		if err != nil {
			if !warned && ctx.Err() == nil {
				contextlog.From(ctx).Warn("events cannot be watched, so the status of policies does not show refused pods", "error", err)
			}
			warned = true
			w.wait(ctx, ticker)
			continue
		}
		warned = false
		w.follow(ctx, events, ticker)
		events.Stop()
	}
	return nil
}

// wait refreshes until the time of the next watch.
func (w *Watcher) wait(ctx context.Context, ticker clock.Ticker) {
	again := w.cfg.Clock.After(retry)
	for {
		select {
		case <-ctx.Done():
			return
		case <-again:
			return
		case <-ticker.C():
			w.refresh(ctx)
		}
	}
}

// follow handles events until the watch ends.
func (w *Watcher) follow(ctx context.Context, events watch.Interface, ticker clock.Ticker) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
			w.refresh(ctx)
		case e, ok := <-events.ResultChan():
			if !ok || e.Type == watch.Error {
				w.pause(ctx)
				return
			}
			if object, ok := e.Object.(*corev1.Event); ok && e.Type != watch.Deleted {
				w.hear(object)
			}
		}
	}
}

// pause keeps a watch that ends at once from being repeated without end.
func (w *Watcher) pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-w.cfg.Clock.After(time.Second):
	}
}

// hear remembers the event's workload. The next refresh reads it.
func (w *Watcher) hear(e *corev1.Event) {
	k := key{e.Namespace, groupOf(e.InvolvedObject.APIVersion), e.InvolvedObject.Kind, e.InvolvedObject.Name}
	if e.Reason != failedCreate || newObject(k) == nil || !w.cfg.Policed(k.namespace) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	known, ok := w.workloads[k]
	if !ok {
		if !w.room(k.namespace) {
			return
		}
		known = &entry{}
		w.workloads[k] = known
	}
	known.text, known.heard = cause(e.Message), w.cfg.Clock.Now()
}

func (w *Watcher) room(namespace string) bool {
	n := 0
	for k := range w.workloads {
		if k.namespace == namespace {
			n++
		}
	}
	return n < maxOfNamespace && len(w.workloads) < maxWorkloads
}

// refresh reads all workloads again.
func (w *Watcher) refresh(ctx context.Context) {
	w.mu.Lock()
	keys := make([]key, 0, len(w.workloads))
	for k := range w.workloads {
		keys = append(keys, k)
	}
	w.mu.Unlock()
	for _, k := range keys {
		w.look(ctx, k)
	}
	w.measure()
}

// look reads a workload, forgets it if it has its pods, and announces what changed.
func (w *Watcher) look(ctx context.Context, k key) {
	found, err := read(ctx, w.cfg.Reader, k)
	if client.IgnoreNotFound(err) != nil {
		if ctx.Err() == nil {
			contextlog.From(ctx).Warn("reading a workload with refused pods failed", "namespace", k.namespace, "workload", k.kind+"/"+k.name, "error", err)
		}
		return
	}
	if labels, changed := w.learn(k, found, err == nil); changed {
		w.announce(ctx, k.namespace, labels)
	}
}

// learn keeps what was found, and returns the labels of the pods and whether anything changed.
func (w *Watcher) learn(k key, f found, exists bool) (map[string]string, bool) {
	ours := exists && w.cfg.Selects(k.namespace, f.labels)
	w.mu.Lock()
	defer w.mu.Unlock()
	known := w.workloads[k]
	if !ours || f.missing == 0 && w.cfg.Clock.Since(known.heard) > grace {
		delete(w.workloads, k)
		return known.labels, known.told != ""
	}
	known.labels, known.count = f.labels, f.missing
	if f.message != "" {
		known.text = cause(f.message)
	}
	told := ""
	if known.count > 0 {
		told = fmt.Sprintf("%d %s", known.count, known.text)
	}
	changed := told != known.told
	known.told = told
	return known.labels, changed
}

func (w *Watcher) announce(ctx context.Context, namespace string, labels map[string]string) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Labels: labels}}
	select {
	case w.changed <- event.GenericEvent{Object: pod}:
	case <-ctx.Done():
	}
}

// measure sets the metric.
func (w *Watcher) measure() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pods.Reset()
	for k, e := range w.workloads {
		if e.count > 0 {
			w.pods.WithLabelValues(k.namespace).Add(float64(e.count))
		}
	}
}

// In returns what is known about a namespace, in no particular order. It reads nothing.
func (w *Watcher) In(namespace string) []Refusal {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []Refusal
	for k, e := range w.workloads {
		if k.namespace == namespace && e.count > 0 {
			out = append(out, Refusal{status.Refusal{Workload: workloadOf(k, e.labels), Count: e.count, Text: e.text}, e.labels})
		}
	}
	return out
}

// String names the workload.
func (k key) String() string {
	return fmt.Sprintf("%s/%s in namespace %s", k.kind, k.name, k.namespace)
}
