//go:build !nocluster

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
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
	r.mu.Lock()
	f, ok := r.forwards[key]
	r.mu.Unlock()
	if ok {
		return f.base, nil
	}
	port, stop, err := r.forward(ctx, pod, target)
	if err != nil {
		return "", fmt.Errorf("forwarding a port: %w", err)
	}
	f = forwarded{fmt.Sprintf("http://127.0.0.1:%d", port), stop}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forwards[key] = f
	return f.base, nil
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

func (r *podReader) topOf(ctx context.Context, pod *corev1.Pod) (scrape.Top, error) {
	base, err := r.base(ctx, pod, int(compiled.LoopbackPort))
	switch {
	case forbiddenForward(err):
		return scrape.Top{}, errors.New("you may not create pods/portforward")
	case err != nil:
		return scrape.Top{}, err
	}
	api, err := newLoopbackAPI(base)
	if err != nil {
		return scrape.Top{}, err
	}
	var top scrape.Top
	if err := api.call(ctx, http.MethodGet, "/v1/top", nil, &top); err != nil {
		r.drop(pod, int(compiled.LoopbackPort))
		return scrape.Top{}, err
	}
	return top, nil
}
