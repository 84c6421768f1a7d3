//go:build !nocluster

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/cmd/postern/internal/scrape"
	"github.com/posterndev/postern/controllers/deliver"
)

const (
	// maxConcurrent bounds the pods that are read at the same time.
	maxConcurrent = 16
	// podTimeout bounds the read of one pod.
	podTimeout = 5 * time.Second
	// forwardIdle is how long a forward that nobody uses is kept.
	forwardIdle = 15 * time.Minute
)

// podReader reads sidecars: their metrics by the API server's proxy, or if the person may not use that by a port-forward, and their loopback
// API by a port-forward. Forwards are kept until close.
type podReader struct {
	proxy *podProxy
	// forward forwards a local port to a port of a pod.
	forward   func(ctx context.Context, pod *corev1.Pod, target int) (port uint16, stop func(), err error)
	adminPort int

	mu sync.Mutex
	// denied says that the proxy may not be used.
	denied   bool
	forwards map[string]forwarded
}

type forwarded struct {
	base string
	stop func()
	used time.Time
}

func newPodReader(config *rest.Config, clients kubernetes.Interface) (*podReader, error) {
	proxy, err := newPodProxy(config, clients)
	if err != nil {
		return nil, err
	}
	// A forward lives longer than one request.
	unbounded := rest.CopyConfig(config)
	unbounded.Timeout = 0
	return &podReader{
		proxy: proxy, adminPort: int(compiled.AdminPort), forwards: map[string]forwarded{},
		forward: func(ctx context.Context, pod *corev1.Pod, target int) (uint16, func(), error) {
			return forwardTo(ctx, unbounded, clients, pod, target)
		},
	}, nil
}

// close ends all forwards.
func (r *podReader) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.forwards {
		f.stop()
	}
	r.forwards = map[string]forwarded{}
}

// metrics reads the metrics of the pods, in their order. A pod that does not answer has an error.
func (r *podReader) metrics(ctx context.Context, pods []*corev1.Pod) []scrape.Pod {
	out := make([]scrape.Pod, len(pods))
	each(len(pods), func(i int) {
		bounded, cancel := context.WithTimeout(ctx, podTimeout)
		defer cancel()
		pod := pods[i]
		p := scrape.Pod{Namespace: pod.Namespace, Name: pod.Name}
		p.Policy, _ = deliver.BoundPolicy(pod)
		var body []byte
		if body, p.Err = r.metricsOf(bounded, pod); p.Err == nil {
			p.At = time.Now()
			p.Metrics, p.Err = scrape.Parse(body, scrape.Wanted)
		}
		out[i] = p
	})
	return out
}

// each calls f for each number below n, some at the same time.
func each(n int, f func(i int)) {
	var group sync.WaitGroup
	places := make(chan struct{}, maxConcurrent)
	for i := range n {
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			f(i)
		})
	}
	group.Wait()
}

func (r *podReader) metricsOf(ctx context.Context, pod *corev1.Pod) ([]byte, error) {
	r.mu.Lock()
	denied := r.denied
	r.mu.Unlock()
	if !denied {
		body, _, err := r.proxy.get(ctx, pod.Namespace, pod.Name, r.adminPort, "/metrics")
		if !apierrors.IsForbidden(err) {
			return body, err
		}
		r.mu.Lock()
		r.denied = true
		r.mu.Unlock()
	}
	base, err := r.base(ctx, pod, r.adminPort)
	switch {
	case forbiddenForward(err):
		return nil, errors.New("you may neither get pods/proxy nor create pods/portforward")
	case err != nil:
		return nil, err
	}
	body, _, err := fetch(ctx, http.DefaultClient, base+"/metrics")
	if err != nil {
		r.drop(pod, r.adminPort)
	}
	return body, err
}

// forbiddenForward reports whether the API server refuses a port-forward. The client reports that as text alone.
func forbiddenForward(err error) bool {
	return err != nil && strings.Contains(err.Error(), `cannot create resource "pods/portforward"`)
}

func forwardKey(pod *corev1.Pod, target int) string {
	return fmt.Sprintf("%s/%s:%d", pod.Namespace, pod.UID, target)
}

// base returns the URL of a forwarded port.
func (r *podReader) base(ctx context.Context, pod *corev1.Pod, target int) (string, error) {
	key := forwardKey(pod, target)
	if f, ok := r.kept(key); ok {
		return f.base, nil
	}
	port, stop, err := r.forward(ctx, pod, target)
	if err != nil {
		return "", fmt.Errorf("forwarding a port: %w", err)
	}
	f := forwarded{fmt.Sprintf("http://127.0.0.1:%d", port), stop, time.Now()}
	r.mu.Lock()
	defer r.mu.Unlock()
	if other, ok := r.forwards[key]; ok { // of another reader, which was faster
		stop()
		return other.base, nil
	}
	r.forwards[key] = f
	return f.base, nil
}

// kept returns a forward that was opened before. It ends those that are idle, for example of pods that are gone.
func (r *podReader) kept(key string) (forwarded, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	f, ok := r.forwards[key]
	if ok {
		f.used = now
		r.forwards[key] = f
	}
	for k, other := range r.forwards {
		if now.Sub(other.used) > forwardIdle {
			other.stop()
			delete(r.forwards, k)
		}
	}
	return f, ok
}

// drop ends a forward that does not work any more, for example because the pod's container started again.
func (r *podReader) drop(pod *corev1.Pod, target int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := forwardKey(pod, target)
	if f, ok := r.forwards[key]; ok {
		f.stop()
		delete(r.forwards, key)
	}
}

// tops reads the top lists of the pods. It returns the reasons why some did not answer.
func (r *podReader) tops(ctx context.Context, pods []*corev1.Pod) ([]scrape.Top, []string) {
	tops, failures := make([]*scrape.Top, len(pods)), make([]string, len(pods))
	each(len(pods), func(i int) {
		bounded, cancel := context.WithTimeout(ctx, podTimeout)
		defer cancel()
		top, err := r.topOf(bounded, pods[i])
		if err != nil {
			failures[i] = fmt.Sprintf("%s/%s: top lists: %v", pods[i].Namespace, pods[i].Name, err)
			return
		}
		tops[i] = &top
	})
	var out []scrape.Top
	var failed []string
	for i := range pods {
		if tops[i] != nil {
			out = append(out, *tops[i])
		} else {
			failed = append(failed, failures[i])
		}
	}
	return out, failed
}

func (r *podReader) topOf(ctx context.Context, pod *corev1.Pod) (top scrape.Top, err error) {
	err = r.at(ctx, pod, func(api *loopbackAPI) error { return api.call(ctx, http.MethodGet, "/v1/top", nil, &top) })
	return top, err
}

// at calls f with the loopback API of a pod. If a forward that was kept does not accept connections any more, f is called again with a new one.
func (r *podReader) at(ctx context.Context, pod *corev1.Pod, f func(*loopbackAPI) error) error {
	const target = int(compiled.LoopbackPort)
	for again := false; ; again = true {
		base, err := r.base(ctx, pod, target)
		switch {
		case forbiddenForward(err):
			return errors.New("you may not create pods/portforward")
		case err != nil:
			return err
		}
		api, err := newLoopbackAPI(base)
		if err != nil {
			return err
		}
		err = f(api)
		if unreachable := (*url.Error)(nil); errors.As(err, &unreachable) {
			r.drop(pod, target)
		}
		if again || !errors.Is(err, syscall.ECONNREFUSED) {
			return err
		}
	}
}
