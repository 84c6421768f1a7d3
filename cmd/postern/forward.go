//go:build !nocluster

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/controllers/deliver"
)

// forward forwards a local port to the loopback API of a pod that runs the policy, as kubectl port-forward does, and returns its
// URL. If policy is empty, the pods of the namespace must run only one policy. The caller must call stop.
//
// as is the user to impersonate; empty for none.
func (a *access) forward(ctx context.Context, policy, as string) (server string, stop func(), err error) {
	namespace, err := a.namespaceName()
	if err != nil {
		return "", nil, err
	}
	config, err := a.config().ClientConfig()
	if err != nil {
		return "", nil, fmt.Errorf("reading kubeconfig: %w", err)
	}
	config.Impersonate.UserName = as
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", nil, fmt.Errorf("connecting to the API server: %w", err)
	}
	listing, cancel := context.WithTimeout(ctx, max(a.timeout, loopbackTimeout))
	defer cancel()
	pods, err := clients.CoreV1().Pods(namespace).List(listing, metav1.ListOptions{})
	if err != nil {
		return "", nil, fmt.Errorf("listing pods in namespace %q: %w", namespace, err)
	}
	pod, err := choose(pods.Items, policy)
	if err != nil {
		return "", nil, fmt.Errorf("in namespace %q: %w", namespace, err)
	}
	port, stop, err := forwardTo(listing, config, clients, pod, int(compiled.LoopbackPort))
	if err != nil {
		return "", nil, fmt.Errorf("forwarding a port to pod %q: %w", pod.Name, err)
	}
	return fmt.Sprintf("http://127.0.0.1:%d", port), stop, nil
}

// choose returns a ready pod whose sidecar runs the policy.
func choose(pods []corev1.Pod, policy string) (*corev1.Pod, error) {
	var found *corev1.Pod
	var policies []string
	for i := range pods {
		bound, ok := deliver.BoundPolicy(&pods[i])
		if !ok || !ready(&pods[i]) || policy != "" && bound != policy {
			continue
		}
		if !slices.Contains(policies, bound) {
			policies = append(policies, bound)
		}
		found = &pods[i]
	}
	switch {
	case found == nil && policy == "":
		return nil, errors.New("no ready pod has a sidecar")
	case found == nil:
		return nil, fmt.Errorf("no ready pod runs the policy %q", policy)
	case len(policies) > 1:
		slices.Sort(policies)
		return nil, fmt.Errorf("set --policy, because pods run several policies: %s", strings.Join(policies, ", "))
	}
	return found, nil
}

func ready(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// forwardTo forwards a free local port to a port of the pod. The caller must call stop.
func forwardTo(ctx context.Context, config *rest.Config, clients kubernetes.Interface, pod *corev1.Pod, target int) (port uint16, stop func(), err error) {
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return 0, nil, err
	}
	url := clients.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("portforward").URL()
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	stopped, open, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	stop = func() { close(stopped) }
	f, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", target)}, stopped, open, io.Discard, io.Discard)
	if err != nil {
		return 0, nil, err
	}
	go func() { ended <- f.ForwardPorts() }()
	select {
	case <-open:
	case err := <-ended:
		return 0, nil, err
	case <-ctx.Done():
		stop()
		return 0, nil, ctx.Err()
	}
	ports, err := f.GetPorts()
	if err == nil && len(ports) != 1 {
		err = fmt.Errorf("%d ports are open, want 1", len(ports))
	}
	if err != nil {
		stop()
		return 0, nil, fmt.Errorf("opening a local port: %w", err)
	}
	return ports[0].Local, stop, nil
}
