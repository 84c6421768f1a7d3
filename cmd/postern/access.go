//go:build !nocluster

package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/v1alpha1"
)

// access connects to the cluster in the same way as kubectl.
type access struct {
	kubeconfig, context, namespace string
	timeout                        time.Duration
}

func (a *access) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&a.kubeconfig, "kubeconfig", "", "path of the kubeconfig file (default: the environment variable KUBECONFIG, or ~/.kube/config)")
	f.StringVar(&a.context, "context", "", "context of the kubeconfig (default: the current context)")
	f.DurationVar(&a.timeout, "request-timeout", 30*time.Second, "timeout of one request to the API server; 0 disables it")
	f.StringVarP(&a.namespace, "namespace", "n", "", "namespace (default: the context's namespace)")
}

func (a *access) config() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = a.kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: a.context})
}

func (a *access) namespaceName() (string, error) {
	if a.namespace != "" {
		return a.namespace, nil
	}
	namespace, _, err := a.config().Namespace()
	if err != nil {
		return "", fmt.Errorf("reading kubeconfig: %w", err)
	}
	return namespace, nil
}

// contextName returns the name of the context of the kubeconfig; empty if there is none.
func (a *access) contextName() string {
	if a.context != "" {
		return a.context
	}
	raw, err := a.config().RawConfig()
	if err != nil {
		return ""
	}
	return raw.CurrentContext
}

// client returns a client for TokenRevocations. It does not use discovery, because not every user has permission for it. Warnings of
// the API server are written to warnings.
func (a *access) client(warnings io.Writer) (client.Client, error) {
	config, err := a.config().ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig: %w", err)
	}
	config.Timeout = a.timeout
	config.WarningHandler = rest.NewWarningWriter(warnings, rest.WarningWriterOptions{Deduplicate: true})
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("registering types: %w", err)
	}
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{v1alpha1.GroupVersion})
	mapper.Add(v1alpha1.GroupVersion.WithKind("TokenRevocation"), meta.RESTScopeNamespace)
	c, err := client.New(config, client.Options{Scheme: scheme, Mapper: mapper})
	if err != nil {
		return nil, fmt.Errorf("connecting to the API server: %w", err)
	}
	return c, nil
}
