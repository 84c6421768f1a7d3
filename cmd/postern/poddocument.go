//go:build !nocluster

package main

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/render"
)

// documentOf returns the document that a pod runs, and a note about it. It reads the pod and a ConfigMap, and changes nothing.
func (a *access) documentOf(ctx context.Context, pod string) (*compiled.Policy, string, error) {
	namespace, err := a.namespaceName()
	if err != nil {
		return nil, "", err
	}
	config, err := a.config().ClientConfig()
	if err != nil {
		return nil, "", fmt.Errorf("reading kubeconfig: %w", err)
	}
	config.Timeout = a.timeout
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, "", fmt.Errorf("connecting to the API server: %w", err)
	}
	return podDocument(ctx, clients, namespace, pod)
}

// podDocument returns the document of the pod's policy, as the operator delivers it. The pod reports the hash of the document that
// its sidecar has verified and runs. The note says whether it is the same.
func podDocument(ctx context.Context, clients kubernetes.Interface, namespace, name string) (*compiled.Policy, string, error) {
	pod, err := clients.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, "", fmt.Errorf("reading pod %s/%s: %w", namespace, name, err)
	}
	policy, ok := deliver.BoundPolicy(pod)
	if !ok {
		return nil, "", fmt.Errorf("the pod %s/%s has no sidecar", namespace, name)
	}
	report, ok := deliver.ReportFrom(pod)
	if !ok || report.Hash == "" {
		return nil, "", fmt.Errorf("the sidecar of pod %s/%s has not reported a document yet", namespace, name)
	}
	holder := render.ConfigMapName(policy)
	cm, err := clients.CoreV1().ConfigMaps(namespace).Get(ctx, holder, metav1.GetOptions{})
	if err != nil {
		return nil, "", fmt.Errorf("reading ConfigMap %s/%s with the document: %w", namespace, holder, err)
	}
	for _, content := range cm.Data { // at most one has the hash
		if (compiled.Signed{Document: []byte(content)}).Hash() != report.Hash {
			continue
		}
		document, err := compiled.Decode([]byte(content))
		if err != nil {
			return nil, "", fmt.Errorf("decoding document: %w", err)
		}
		return document, fmt.Sprintf("which the pod %s runs; it is the one in the cluster", name), nil
	}
	return nil, "", fmt.Errorf("the pod %s/%s runs another document than the cluster has for the policy %q (the pod reports %s%s): "+
		"wait until it has the new one, or explain the policy with -f", namespace, name, policy, report.Hash, refusedText(report))
}

// refusedText says why the pod has not the newest document, if it has refused it.
func refusedText(report compiled.Report) string {
	if report.Error == "" {
		return ""
	}
	return "; it refuses the new one: " + report.Error
}
