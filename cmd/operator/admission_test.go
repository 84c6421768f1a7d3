package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/index"
	"github.com/posterndev/postern/controllers/inject"
	"github.com/posterndev/postern/controllers/render"
	"github.com/posterndev/postern/test/freeport"
)

// figures of an operator, from its metrics.
type figures struct {
	lists, reads, cpu float64
	// memory is what the memory limit of Go counts, in bytes. The resident size would include the shadow memory of the race detector.
	memory float64
}

func measure(address string) (figures, error) {
	response, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		return figures{}, err
	}
	defer response.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	if err != nil {
		return figures{}, err
	}
	var f figures
	for _, m := range families["postern_policy_reads_total"].GetMetric() {
		if m.GetLabel()[0].GetValue() == "list" {
			f.lists = m.GetCounter().GetValue()
		} else {
			f.reads = m.GetCounter().GetValue()
		}
	}
	f.cpu = families["process_cpu_seconds_total"].GetMetric()[0].GetCounter().GetValue()
	gauge := func(name string) float64 { return families[name].GetMetric()[0].GetGauge().GetValue() }
	f.memory = gauge("go_memstats_sys_bytes") - gauge("go_memstats_heap_released_bytes")
	return f, nil
}

// dryRun creates the pod as a dry run: admission runs, and nothing is stored.
func dryRun(t *testing.T, pod *corev1.Pod) (*corev1.Pod, error) {
	pod = pod.DeepCopy()
	return pod, shared.Create(t.Context(), pod, client.DryRunAll)
}

func isInjected(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == render.SidecarName })
}

// createPolicies creates policies p0, p1 …, each of which selects app=NAME. They are deleted with their documents at the end: the
// operator of each later test would read and report them all.
func createPolicies(t *testing.T, namespace string, count int, change func(*v1alpha1.SecurityPolicy)) {
	t.Helper()
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		for _, kind := range []client.Object{&v1alpha1.SecurityPolicy{}, &corev1.ConfigMap{}} {
			if err := shared.DeleteAllOf(ctx, kind, client.InNamespace(namespace)); err != nil {
				t.Error(err)
			}
		}
	})
	for i := range count {
		p := newPolicy(namespace, fmt.Sprintf("p%d", i), fmt.Sprintf("p%d", i))
		if change != nil {
			change(p)
		}
		create(t, p)
	}
}

// TestAdmission checks that pods of a namespace with 400 policies cost few reads, that no pod slips past a policy that was applied
// just before, and that hostile policies and pods do not make the operator large. With POSTERN_BENCH_ADMISSION it also prints how
// fast that is.
func TestAdmission(t *testing.T) {
	// While no webhook for objects runs, which would refuse the hostile policies and make the creation of all slow.
	hostile, namespace := hostileNamespace(t), newNamespace(t, "admission", enabled())
	createPolicies(t, namespace, 400, nil)
	address := freeport.Address(t)
	runOperator(t, t.Output(), "--log-format=text", "--log-level=warn", "--metrics-bind-address="+address)
	eventually(t, "the API server calls the webhook", func() error {
		_, err := dryRun(t, newPod(namespace, "first", "p0"))
		return err
	})
	t.Run("no policies", func(t *testing.T) {
		pod, err := dryRun(t, newPod(newNamespace(t, "empty", enabled()), "a", "a"))
		if err != nil || isInjected(pod) {
			t.Errorf("a pod of a namespace without policies: %v, injected %v", err, isInjected(pod))
		}
	})
	t.Run("keys", func(t *testing.T) { testKeys(t, namespace, 400) })
	t.Run("reads", func(t *testing.T) { testReads(t, address, namespace) })
	t.Run("freshness", func(t *testing.T) { testFreshness(t, namespace) })
	t.Run("hostile", func(t *testing.T) { testHostile(t, address, hostile) })
	if os.Getenv("POSTERN_BENCH_ADMISSION") != "" {
		t.Run("bench", func(t *testing.T) { benchAdmission(t, address, namespace) })
	}
}

// testKeys checks that one small response of a real API server has the key of every policy.
func testKeys(t *testing.T, namespace string, count int) {
	config := rest.CopyConfig(shared.Config)
	var requests, size atomic.Int64
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return counter{next, &requests, &size} })
	lister, err := index.NewKeyLister(config)
	if err != nil {
		t.Fatal(err)
	}
	got, err := lister.Keys(t.Context(), namespace)
	if err != nil {
		t.Fatal(err)
	}
	policies := &v1alpha1.SecurityPolicyList{}
	if err := shared.List(t.Context(), policies, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	var want []index.Key
	for _, p := range policies.Items {
		want = append(want, index.Key{Name: p.Name, UID: p.UID, Generation: p.Generation})
	}
	if len(want) != count || !slices.Equal(got, want) {
		t.Errorf("the lister has %d keys, which differ from those of the %d policies", len(got), len(want))
	}
	if requests.Load() != 1 || size.Load() > int64(count)*200 {
		t.Errorf("%d keys took %d requests and %d bytes, want one and at most 200 bytes each", count, requests.Load(), size.Load())
	}
}

// counter counts requests and the bytes of response bodies.
type counter struct {
	http.RoundTripper
	requests, size *atomic.Int64
}

func (c counter) RoundTrip(r *http.Request) (*http.Response, error) {
	c.requests.Add(1)
	response, err := c.RoundTripper.RoundTrip(r)
	if err == nil {
		response.Body = counted{response.Body, c.size}
	}
	return response, err
}

type counted struct {
	io.ReadCloser
	size *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	c.size.Add(int64(n))
	return n, err
}

func testReads(t *testing.T, address, namespace string) {
	before, err := measure(address)
	if err != nil {
		t.Fatal(err)
	}
	const pods = 100
	var wg sync.WaitGroup
	for i := range pods {
		wg.Go(func() {
			pod, err := dryRun(t, newPod(namespace, fmt.Sprintf("reads-%d", i), fmt.Sprintf("p%d", i%400)))
			if err != nil || !isInjected(pod) {
				t.Errorf("pod %d has no sidecar: %v", i, err)
			}
		})
	}
	wg.Wait()
	after, err := measure(address)
	if err != nil {
		t.Fatal(err)
	}
	if lists := after.lists - before.lists; lists < 1 || lists > pods/2 {
		t.Errorf("%d concurrent pods cost %v lists", pods, lists)
	}
	if reads := after.reads - before.reads; reads > 0 {
		t.Errorf("%v policies were read one by one", reads)
	}
}

// testFreshness creates a policy and at once a pod, again and again.
func testFreshness(t *testing.T, namespace string) {
	for i := range 30 {
		name := fmt.Sprintf("fresh-%d", i)
		create(t, newPolicy(namespace, name, name))
		pod, err := dryRun(t, newPod(namespace, name, name))
		if err != nil || !isInjected(pod) {
			t.Fatalf("pod %d slipped past the policy: %v", i, err)
		}
	}
}

// hostileNamespace returns a namespace with 17 invalid policies of almost 1 MiB.
func hostileNamespace(t *testing.T) string {
	t.Helper()
	namespace := newNamespace(t, "hostile", enabled())
	createPolicies(t, namespace, 17, func(p *v1alpha1.SecurityPolicy) {
		p.Spec.JWT = &v1alpha1.JWT{}
		for i := range 16 {
			p.Spec.JWT.Providers = append(p.Spec.JWT.Providers, v1alpha1.JWTProvider{
				Name: fmt.Sprintf("p%d", i), Issuer: fmt.Sprintf("https://issuer-%d.example.com", i), Audiences: []string{"x"},
				Algorithms: []v1alpha1.Algorithm{"RS256"}, JWKS: v1alpha1.JWKS{Inline: strings.Repeat("x", 60<<10)},
			})
		}
	})
	return namespace
}

// testHostile creates many large pods at once in a namespace of hostile policies.
func testHostile(t *testing.T, address, namespace string) {
	wantCondition(t, newPolicy(namespace, "p0", "p0"), v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
	var wg sync.WaitGroup
	var refused, admitted atomic.Int64
	for i := range 180 {
		wg.Go(func() {
			pod := newPod(namespace, fmt.Sprintf("hostile-%d", i), "p1")
			pod.Annotations = map[string]string{"x": strings.Repeat("x", 200<<10)}
			switch _, err := dryRun(t, pod); {
			case err == nil:
				admitted.Add(1)
			case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "at most 262144 are allowed"):
				refused.Add(1)
			}
		})
	}
	wg.Wait()
	// On a slow machine the API server gives up on some.
	if refused.Load() == 0 || admitted.Load() > 0 {
		t.Errorf("of 180 pods %d were admitted, and %d were refused with the reason", admitted.Load(), refused.Load())
	}
	f, err := measure(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("beside hostile policies the operator takes %.0f MiB", f.memory/(1<<20))
	if f.memory > 256<<20 {
		t.Errorf("the operator takes %.0f MiB, want at most 256", f.memory/(1<<20))
	}
}

// benchAdmission prints the latencies at 200 pods a second: of the webhook alone, of creating pods through the API server, as dry
// runs and stored, and of the same without the webhook, which shows what this machine's API server can do.
func benchAdmission(t *testing.T, address, namespace string) {
	unlabelled := newNamespace(t, "baseline", nil)
	review, clients := webhookCaller(t), benchClients(t)
	bench(t, address, "the webhook alone", func(i int) error {
		return review(newPod(namespace, fmt.Sprintf("bench-%d", i), fmt.Sprintf("p%d", i%400)))
	})
	creating := func(namespace string, options ...client.CreateOption) func(int) error {
		return func(i int) error {
			pod := newPod(namespace, fmt.Sprintf("bench-%d", i), fmt.Sprintf("p%d", i%400))
			err := clients[i%len(clients)].Create(t.Context(), pod, options...)
			if err == nil && isInjected(pod) != (namespace != unlabelled) {
				err = errors.New("a sidecar is missing, or there is one")
			}
			return err
		}
	}
	bench(t, address, "dry runs through the API server", creating(namespace, client.DryRunAll))
	bench(t, address, "dry runs without the webhook", creating(unlabelled, client.DryRunAll))
	benchReads(t, namespace)
	bench(t, address, "stored pods through the API server", creating(namespace))
	bench(t, address, "stored pods without the webhook", creating(unlabelled))
}

func benchClients(t *testing.T) []client.Client {
	t.Helper()
	var out []client.Client
	for range 8 {
		c, err := shared.NewClient()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

// benchReads prints how long the read takes that makes sure that the index is not behind, and a list of metadata for comparison:
// alone, and while other objects are written.
func benchReads(t *testing.T, namespace string) {
	t.Helper()
	lister, err := index.NewKeyLister(shared.Config)
	if err != nil {
		t.Fatal(err)
	}
	reads := map[string]func() error{
		"table": func() error {
			_, err := lister.Keys(t.Context(), namespace)
			return err
		},
		"metadata": func() error {
			list := &metav1.PartialObjectMetadataList{}
			list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("SecurityPolicyList"))
			return shared.List(t.Context(), list, client.InNamespace(namespace))
		},
	}
	for _, beside := range []string{"alone", "beside writes"} {
		ctx, cancel := context.WithCancel(t.Context())
		var writer sync.WaitGroup
		if beside != "alone" {
			writer.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					_ = shared.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("write-%d", i)}})
					time.Sleep(5 * time.Millisecond)
				}
			})
		}
		for what, read := range reads {
			took := make([]time.Duration, 50)
			for i := range took {
				begun := time.Now()
				if err := read(); err != nil {
					t.Fatal(err)
				}
				took[i] = time.Since(begun)
			}
			slices.Sort(took)
			fmt.Printf("%s of 400 policies, %s: p50 %s, p90 %s\n", what, beside, took[25].Round(time.Millisecond), took[45].Round(time.Millisecond))
		}
		cancel()
		writer.Wait()
	}
}

func bench(t *testing.T, address, what string, once func(int) error) {
	const rate, duration = 200, 10 * time.Second
	before, err := measure(address)
	if err != nil {
		t.Fatal(err)
	}
	total := rate * int(duration/time.Second)
	took, failed := make([]time.Duration, total), atomic.Int64{}
	var wg sync.WaitGroup
	start := time.Now()
	for i := range total {
		time.Sleep(time.Until(start.Add(time.Duration(i) * time.Second / rate)))
		wg.Go(func() {
			begun := time.Now()
			if err := once(i); err != nil {
				failed.Add(1)
			}
			took[i] = time.Since(begun)
		})
	}
	wg.Wait()
	elapsed := time.Since(start)
	after, err := measure(address)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(took)
	fmt.Printf("%s: %.0f/s of %d/s, 400 policies, %d failed; p50 %s, p99 %s, max %s; %.2f lists each; operator %.0f%% of a core, %.0f MiB\n",
		what, float64(total)/elapsed.Seconds(), rate, failed.Load(), took[total/2].Round(time.Millisecond),
		took[total*99/100].Round(time.Millisecond), took[total-1].Round(time.Millisecond), (after.lists-before.lists)/float64(total),
		100*(after.cpu-before.cpu)/elapsed.Seconds(), after.memory/(1<<20))
}

// webhookCaller returns a function that calls the webhook as the API server does.
func webhookCaller(t *testing.T) func(*corev1.Pod) error {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	url := fmt.Sprintf("https://localhost:%d%s", shared.Ports.Webhook, inject.Path)
	return func(pod *corev1.Pod) error {
		object, err := json.Marshal(pod)
		if err != nil {
			return err
		}
		body, err := json.Marshal(map[string]any{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": map[string]any{
			"uid": pod.Name, "operation": "CREATE", "namespace": pod.Namespace, "object": json.RawMessage(object),
			"resource": map[string]string{"version": "v1", "resource": "pods"}, "kind": map[string]string{"version": "v1", "kind": "Pod"},
		}})
		if err != nil {
			return err
		}
		response, err := (&http.Client{Transport: transport}).Post(url, "application/json", bytes.NewReader(body))
		if err != nil {
			return err
		}
		defer response.Body.Close()
		var review struct{ Response struct{ Patch []byte } }
		if err := json.NewDecoder(response.Body).Decode(&review); err != nil {
			return err
		}
		if len(review.Response.Patch) == 0 {
			return errors.New("it has no sidecar")
		}
		return nil
	}
}
