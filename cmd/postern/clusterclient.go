//go:build !nocluster

package main

import (
	"fmt"
	"io"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/v1alpha1"
)

// scope returns the namespace to look at, or "" for all of them, and how to reach the cluster.
func (a *access) scope(all bool, warnings io.Writer) (namespace string, config *rest.Config, err error) {
	if !all {
		if namespace, err = a.namespaceName(); err != nil {
			return "", nil, err
		}
	}
	config, err = a.rest(warnings)
	return namespace, config, err
}

// rest returns the configuration of clients. Warnings of the API server are written to warnings.
func (a *access) rest(warnings io.Writer) (*rest.Config, error) {
	config, err := a.config().ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig: %w", err)
	}
	config.Timeout = a.timeout
	config.QPS, config.Burst = 50, 100
	config.WarningHandler = rest.NewWarningWriter(warnings, rest.WarningWriterOptions{Deduplicate: true})
	return config, nil
}

// reader returns a client for what a person reads to see what is enforced. It does not use discovery, because not every user has
// permission for it.
func reader(config *rest.Config) (client.Reader, error) {
	scheme := runtime.NewScheme()
	mapper := meta.NewDefaultRESTMapper(nil)
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme, appsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("registering types: %w", err)
		}
	}
	for kind, scope := range map[schema.GroupVersionKind]meta.RESTScope{
		v1alpha1.GroupVersion.WithKind("SecurityPolicy"):  meta.RESTScopeNamespace,
		v1alpha1.GroupVersion.WithKind("SidecarClass"):    meta.RESTScopeRoot,
		corev1.SchemeGroupVersion.WithKind("Pod"):         meta.RESTScopeNamespace,
		corev1.SchemeGroupVersion.WithKind("Namespace"):   meta.RESTScopeRoot,
		appsv1.SchemeGroupVersion.WithKind("Deployment"):  meta.RESTScopeNamespace,
		appsv1.SchemeGroupVersion.WithKind("StatefulSet"): meta.RESTScopeNamespace,
		appsv1.SchemeGroupVersion.WithKind("DaemonSet"):   meta.RESTScopeNamespace,
	} {
		mapper.Add(kind, scope)
	}
	c, err := client.New(config, client.Options{Scheme: scheme, Mapper: mapper})
	if err != nil {
		return nil, fmt.Errorf("connecting to the API server: %w", err)
	}
	return c, nil
}
