package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/controllers/inject"
	"github.com/posterndev/postern/controllers/policy"
	"github.com/posterndev/postern/controllers/render"
)

// podRate is the rate at which pods are created, per second.
const podRate = 50

// admitted are the times of one way to create pods, or of one way to call the webhook.
type admitted struct {
	name string
	once func(ctx context.Context, i int) error
	took []time.Duration
	// cpu is the operator's, and server the API server's, both in all.
	cpu, server time.Duration
}

// admission creates pods at podRate: with the webhook, without it, and calls the webhook alone. They take turns.
func (o *operators) admission(ctx context.Context, n int) error {
	if _, err := o.quiet(ctx); err != nil {
		return err
	}
	ways := []*admitted{
		{name: "pods without the webhook", once: o.creating(plainNamespace, n)},
		{name: "pods with the webhook", once: o.creating(namespaceOf(0), n)},
		{name: "the webhook alone", once: o.reviewing(namespaceOf(0), n)},
	}
	before, err := o.webhookMetric(ctx)
	if err != nil {
		return err
	}
	rounds := max(1, int(o.creation/(5*time.Second)))
	for round := range rounds {
		fmt.Fprintf(o.progress, "operator: %d pods a second, round %d of %d\n", podRate, round+1, rounds)
		for _, w := range ways {
			if err := o.open(ctx, w, round, o.creation/time.Duration(rounds)); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
		}
	}
	after, err := o.webhookMetric(ctx)
	if err != nil {
		return err
	}
	return o.printAdmission(n, ways, after.minus(before))
}

// open calls w.once at podRate for a time, in an open loop. A time counts from when the call should have begun.
func (o *operators) open(ctx context.Context, w *admitted, round int, during time.Duration) error {
	serverBefore, err := o.serverCPU(ctx)
	if err != nil {
		return err
	}
	before, err := cpuTime(o.process.pid())
	if err != nil {
		return err
	}
	n := int(podRate * during.Seconds())
	took, errs := make([]time.Duration, n), make([]error, n)
	var calls sync.WaitGroup
	start := time.Now()
	for i := range n {
		due := start.Add(time.Duration(i) * time.Second / podRate)
		time.Sleep(time.Until(due))
		calls.Go(func() {
			errs[i] = w.once(ctx, round*n+i)
			took[i] = time.Since(due)
		})
	}
	calls.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	after, err := cpuTime(o.process.pid())
	if err != nil {
		return err
	}
	serverAfter, err := o.serverCPU(ctx)
	w.took = append(w.took, took...)
	w.cpu, w.server = w.cpu+after-before, w.server+serverAfter-serverBefore
	return err
}

// pod returns a new pod of the app, that policy app selects.
func pod(namespace, name, app string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": app}},
		Spec: corev1.PodSpec{
			ServiceAccountName: "app",
			Containers:         []corev1.Container{{Name: "app", Image: "example.com/app:1", Ports: []corev1.ContainerPort{{ContainerPort: 8080}}}},
		},
	}
}

// appIn returns the name of one of the policies in namespace 0, if there are n policies in all.
func appIn(i, n int) string {
	return policyName(i % max(1, n/policyNamespaces) * policyNamespaces).Name
}

// creating creates pods, and checks which of them have a sidecar.
func (o *operators) creating(namespace string, n int) func(context.Context, int) error {
	return func(ctx context.Context, i int) error {
		p := pod(namespace, fmt.Sprintf("open-%d", i), appIn(i, n))
		if err := o.clients[i%len(o.clients)].Create(ctx, p); err != nil {
			return err
		}
		if injected := sidecarOf(p) != nil; injected != (namespace != plainNamespace) {
			return fmt.Errorf("pod %s in namespace %s has a sidecar: %v", p.Name, namespace, injected)
		}
		return nil
	}
}

// sidecarOf returns the injected container; nil if there is none.
func sidecarOf(p *corev1.Pod) *corev1.Container {
	i := slices.IndexFunc(p.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == render.SidecarName })
	if i < 0 {
		return nil
	}
	return &p.Spec.InitContainers[i]
}

// reviewing calls the webhook as the API server does.
func (o *operators) reviewing(namespace string, n int) func(context.Context, int) error {
	client := &http.Client{Timeout: waitLimit, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 25, // as many as the API server keeps
	}}
	url := fmt.Sprintf("https://localhost:%d%s", o.server.Ports.Webhook, inject.Path)
	return func(ctx context.Context, i int) error {
		p := pod(namespace, fmt.Sprintf("review-%d", i), appIn(i, n))
		body, err := json.Marshal(map[string]any{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": map[string]any{
			"uid": p.Name, "operation": "CREATE", "namespace": namespace, "object": p,
			"resource": map[string]string{"version": "v1", "resource": "pods"}, "kind": map[string]string{"version": "v1", "kind": "Pod"},
		}})
		if err != nil {
			return err
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		content, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		var review struct{ Response struct{ Patch []byte } }
		if err := json.Unmarshal(content, &review); err != nil || len(review.Response.Patch) == 0 {
			return errors.Join(err, fmt.Errorf("the webhook gives no sidecar: %s", content))
		}
		return nil
	}
}

// histogram is the API server's own measurement of calls of the webhook.
type histogram struct {
	count, sum float64
	// within is the number of calls within each time, in seconds.
	within map[float64]float64
}

func (h histogram) minus(b histogram) histogram {
	out := histogram{count: h.count - b.count, sum: h.sum - b.sum, within: map[float64]float64{}}
	for bound, n := range h.within {
		out.within[bound] = n - b.within[bound]
	}
	return out
}

// atMost returns the smallest bound within which a share q of the calls was.
func (h histogram) atMost(q float64) time.Duration {
	best := math.Inf(1)
	for bound, n := range h.within {
		if n >= q*h.count && bound < best {
			best = bound
		}
	}
	return time.Duration(best * float64(time.Second))
}

// serverMetrics reads the API server's metrics.
func (o *operators) serverMetrics(ctx context.Context) (map[string]*dto.MetricFamily, error) {
	body, err := o.server.HTTP.RESTClient().Get().AbsPath("/metrics").Stream(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the API server's metrics: %w", err)
	}
	defer body.Close()
	out, err := families(body)
	if err != nil {
		return nil, fmt.Errorf("reading the API server's metrics: %w", err)
	}
	return out, nil
}

// serverCPU returns the API server's CPU time.
func (o *operators) serverCPU(ctx context.Context) (time.Duration, error) {
	families, err := o.serverMetrics(ctx)
	if err != nil {
		return 0, err
	}
	var seconds float64
	for _, m := range families["process_cpu_seconds_total"].GetMetric() {
		seconds += m.GetCounter().GetValue()
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// webhookMetric reads apiserver_admission_webhook_admission_duration_seconds of the pod webhook.
func (o *operators) webhookMetric(ctx context.Context) (h histogram, err error) {
	families, err := o.serverMetrics(ctx)
	if err != nil {
		return h, err
	}
	h.within = map[float64]float64{}
	for _, m := range labelled(families["apiserver_admission_webhook_admission_duration_seconds"], "name", policy.WebhookName) {
		h.count += float64(m.GetHistogram().GetSampleCount())
		h.sum += m.GetHistogram().GetSampleSum()
		for _, b := range m.GetHistogram().GetBucket() {
			h.within[b.GetUpperBound()] += float64(b.GetCumulativeCount())
		}
	}
	return h, nil
}
