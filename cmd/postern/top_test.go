//go:build !nocluster

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/cmd/postern/internal/scrape"
)

// hostAddress is an address of this machine that the API server's proxy accepts: it refuses loopback addresses.
func hostAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	t.Fatal("this machine has no address besides loopback")
	return ""
}

// sidecarOn serves the metrics of a sidecar that has served more requests each time. It returns its port.
func sidecarOn(t *testing.T, address string) int {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	var reads atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintf(w, "# TYPE postern_http_requests_total counter\npostern_http_requests_total{code=\"200\"} %d\n", 1000*reads.Add(1))
	}))
	server.Listener.Close()
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	return l.Addr().(*net.TCPAddr).Port
}

// readerFor returns the reader of postern top for a person, whose sidecars listen on the port.
func readerFor(t *testing.T, o *topOptions, kubeconfig, namespace string, port int) *topReader {
	t.Helper()
	o.access.kubeconfig = kubeconfig
	o.interval = 10 * time.Millisecond
	config, err := o.access.rest(t.Output())
	if err != nil {
		t.Fatal(err)
	}
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	pods, err := newPodReader(config, clients)
	if err != nil {
		t.Fatal(err)
	}
	pods.adminPort = port
	t.Cleanup(pods.close)
	return &topReader{options: o, clients: clients, namespace: namespace, pods: pods}
}

// runningPod returns a pod with a sidecar at an address.
func runningPod(namespace, name, id, policy, address string) *corev1.Pod {
	pod := testPod(namespace, name, id, policy)
	pod.Status.Phase, pod.Status.PodIP, pod.Status.PodIPs = corev1.PodRunning, address, []corev1.PodIP{{IP: address}}
	return pod
}

// TestTop reads sidecars through a real API server's proxy.
func TestTop(t *testing.T) {
	c, host := cluster(t), hostAddress(t)
	namespace := c.namespace(t, nil)
	// 192.0.2.0/24 is for documentation (RFC 5737): nothing answers there.
	c.create(t, runningPod(namespace, "orders", "a", "orders", host), runningPod(namespace, "orders", "b", "orders", host), runningPod(namespace, "basket", "a", "basket", "127.0.0.1"),
		testPod(namespace, "plain", "a", ""))
	port := sidecarOn(t, host)
	t.Run("JSON", func(t *testing.T) {
		var out bytes.Buffer
		if err := readerFor(t, &topOptions{output: outputJSON}, c.admin, namespace, port).run(t.Context(), &out); err != nil {
			t.Fatal(err)
		}
		var got scrape.View
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Rows) != 2 || got.Rows[0].Policy != "orders" || got.Rows[0].Requests <= 0 || got.Rows[0].Answered != 2 || got.Rows[1].Answered != 0 || len(got.Unanswered) != 1 ||
			!strings.HasPrefix(got.Unanswered[0], namespace+"/basket-7d8f9c-a: ") {
			t.Errorf("%s", out.String())
		}
	})
	t.Run("a policy by pod", func(t *testing.T) {
		var out bytes.Buffer
		if err := readerFor(t, &topOptions{policy: "orders", byPod: true}, c.admin, namespace, port).run(t.Context(), &out); err != nil {
			t.Fatal(err)
		}
		if text := out.String(); !strings.Contains(text, "orders-7d8f9c-b") || strings.Contains(text, "basket") || strings.Contains(text, "\x1b") {
			t.Error(text)
		}
	})
	t.Run("an unknown policy", func(t *testing.T) {
		err := readerFor(t, &topOptions{policy: "x"}, c.admin, namespace, port).run(t.Context(), &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), `no running pod runs the policy "x"; pods run: [basket orders]`) {
			t.Error(err)
		}
	})
	t.Run("without rights", func(t *testing.T) {
		kubeconfig, err := c.user(t.Context(), "top-none", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := readerFor(t, &topOptions{}, kubeconfig, namespace, port).run(t.Context(), &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "you may not list pods in namespace "+namespace) {
			t.Error(err)
		}
		if err := readerFor(t, &topOptions{}, kubeconfig, "", port).run(t.Context(), &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "in all namespaces: name one with -n") {
			t.Error(err)
		}
	})
}

// TestTopForwards: a person who may not use the proxy reads by port-forwards, which are kept, and replaced if they fail.
func TestTopForwards(t *testing.T) {
	c, host := cluster(t), hostAddress(t)
	namespace := c.namespace(t, nil)
	c.create(t, runningPod(namespace, "orders", "a", "orders", host))
	kubeconfig, err := c.user(t.Context(), "top-lister", nil, []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}}}, namespace)
	if err != nil {
		t.Fatal(err)
	}
	port := sidecarOn(t, "127.0.0.1")
	top := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/top" || r.Header.Get("Postern-Request") != "true" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, `{"failedLogins":{"accounts":[{"account":"ada","count":3}],"addresses":[{"address":"192.0.2.1","count":3}]},"refusals":{"addresses":[]}}`)
	}
	loopback := httptest.NewServer(http.HandlerFunc(top))
	defer loopback.Close()
	read := func(o *topOptions, forward func(target int) (uint16, error)) (view scrape.View, forwards, stops int) {
		t.Helper()
		reader := readerFor(t, o, kubeconfig, namespace, port)
		if forward != nil {
			reader.pods.forward = func(_ context.Context, _ *corev1.Pod, target int) (uint16, func(), error) {
				forwards++
				port, err := forward(target)
				return port, func() { stops++ }, err
			}
		}
		for range 3 {
			if view, err = reader.read(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		reader.pods.close()
		return view, forwards, stops
	}
	works := func(target int) (uint16, error) {
		if target == int(compiled.LoopbackPort) {
			return uint16(loopback.Listener.Addr().(*net.TCPAddr).Port), nil
		}
		return uint16(port), nil
	}
	view, forwards, stops := read(&topOptions{accounts: true, limit: 5}, works)
	if view.Rows[0].Requests <= 0 || forwards != 2 || stops != 2 || len(view.Accounts) != 1 || view.Addresses != nil {
		t.Errorf("%+v, %d forwards, %d stopped", view, forwards, stops)
	}
	if view, forwards, _ = read(&topOptions{}, func(int) (uint16, error) { return 1, nil }); view.Rows[0].Answered != 0 || forwards != 3 {
		t.Errorf("a forward that does not work: %+v, %d forwards", view, forwards)
	}
	if view, _, _ = read(&topOptions{addresses: true, limit: 5}, func(int) (uint16, error) { return 0, errors.New("no kubelet") }); len(view.Unanswered) != 2 || !strings.Contains(view.Unanswered[0], "no kubelet") {
		t.Errorf("%+v", view.Unanswered)
	}
	if view, _, _ = read(&topOptions{addresses: true, limit: 5}, nil); len(view.Unanswered) != 2 || !strings.Contains(view.Unanswered[0], "you may neither get pods/proxy nor create pods/portforward") ||
		!strings.Contains(view.Unanswered[1], "you may not create pods/portforward") {
		t.Errorf("without rights: %+v", view.Unanswered)
	}
}

func TestTopFlags(t *testing.T) {
	for want, args := range map[string][]string{
		"is not json": {"-o", "yaml"}, "exclude each other": {"-A", "-n", "x"}, "is not between 500ms and 10m": {"--interval", "1ms"}, "is not between 1 and 50": {"--limit", "0"},
	} {
		if _, _, err := run(t, "", append([]string{"top"}, args...)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// TestEach: no more than the bound run at the same time, and all run.
func TestEach(t *testing.T) {
	var running, most, all atomic.Int64
	each(200, func(int) {
		now := running.Add(1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
		}
		all.Add(1)
		running.Add(-1)
	})
	if all.Load() != 200 || most.Load() > maxConcurrent {
		t.Errorf("%d ran, %d at the same time", all.Load(), most.Load())
	}
}
