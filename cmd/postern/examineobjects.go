//go:build !nocluster

package main

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/cmd/postern/internal/doctor"
	"github.com/posterndev/postern/config/crd"
)

// embeddedCRDs returns the CRDs of this version.
func embeddedCRDs() ([]apiextensionsv1.CustomResourceDefinition, error) {
	entries, err := crd.Bases.ReadDir("bases")
	if err != nil {
		return nil, fmt.Errorf("reading CRDs: %w", err)
	}
	var out []apiextensionsv1.CustomResourceDefinition
	for _, entry := range entries {
		b, err := crd.Bases.ReadFile("bases/" + entry.Name())
		if err != nil {
			return nil, fmt.Errorf("reading CRDs: %w", err)
		}
		var c apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal(b, &c); err != nil {
			return nil, fmt.Errorf("reading CRD %s: %w", entry.Name(), err)
		}
		out = append(out, c)
	}
	return out, nil
}

func (e *examination) readCRDs(ctx context.Context, f *doctor.Facts) {
	for _, want := range f.WantCRDs {
		var c apiextensionsv1.CustomResourceDefinition
		b, err := e.clients.Discovery().RESTClient().Get().AbsPath("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", want.Name).DoRaw(ctx)
		if err == nil {
			err = yaml.Unmarshal(b, &c)
		}
		switch {
		case err == nil:
			f.CRDs.Value = append(f.CRDs.Value, c)
		case !apierrors.IsNotFound(err):
			f.CRDs.Err = err
			return
		}
	}
}

// found turns "not found" into nil.
func found[T any](value *T, err error) doctor.Read[*T] {
	if apierrors.IsNotFound(err) {
		return doctor.Read[*T]{}
	}
	if err != nil {
		return doctor.Read[*T]{Err: err}
	}
	return doctor.Read[*T]{Value: value}
}

func (e *examination) readOperator(ctx context.Context, f *doctor.Facts) {
	get := metav1.GetOptions{}
	f.Operator = found(e.clients.AppsV1().Deployments(f.OperatorNamespace).Get(ctx, doctor.OperatorName, get))
	f.Mutating = found(e.clients.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, doctor.WebhookName, get))
	f.Validating = found(e.clients.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, doctor.WebhookName, get))
	pods, err := e.clients.CoreV1().Pods(f.OperatorNamespace).List(ctx, metav1.ListOptions{
		LabelSelector: "app.kubernetes.io/name=postern,app.kubernetes.io/component=operator",
	})
	f.OperatorPods.Err = err
	if err == nil {
		f.OperatorPods.Value = pods.Items
	}
	schemas, err := e.clients.FlowcontrolV1().FlowSchemas().List(ctx, metav1.ListOptions{})
	f.FlowSchemas.Err = err
	if err == nil {
		for i := range schemas.Items {
			f.FlowSchemas.Value = append(f.FlowSchemas.Value, schemas.Items[i].Name)
		}
	}
}

// everywhere reads the objects of all namespaces, or if that is forbidden those of the person's namespace.
func everywhere[T any](ctx context.Context, namespace string, list func(ctx context.Context, namespace, next string) ([]T, string, error)) doctor.Read[[]T] {
	var r doctor.Read[[]T]
	in := ""
	for next := ""; ; {
		items, more, err := list(ctx, in, next)
		switch {
		case apierrors.IsForbidden(err) && in == "" && namespace != "":
			in, next, r.Value, r.Narrow = namespace, "", nil, true
			continue
		case err != nil:
			return doctor.Read[[]T]{Err: err}
		}
		r.Value = append(r.Value, items...)
		if next = more; next == "" {
			return r
		}
	}
}

func (e *examination) readObjects(ctx context.Context, f *doctor.Facts) {
	page := func(next string) metav1.ListOptions { return metav1.ListOptions{Limit: pageSize, Continue: next} }
	f.Namespaces = everywhere(ctx, "", func(ctx context.Context, _, next string) ([]corev1.Namespace, string, error) {
		l, err := e.clients.CoreV1().Namespaces().List(ctx, page(next))
		return l.Items, l.Continue, err
	})
	if apierrors.IsForbidden(f.Namespaces.Err) {
		if n, err := e.clients.CoreV1().Namespaces().Get(ctx, e.namespace, metav1.GetOptions{}); err == nil {
			f.Namespaces = doctor.Read[[]corev1.Namespace]{Value: []corev1.Namespace{*n}, Narrow: true}
		}
	}
	f.Pods = everywhere(ctx, e.namespace, func(ctx context.Context, in, next string) ([]corev1.Pod, string, error) {
		l, err := e.clients.CoreV1().Pods(in).List(ctx, page(next))
		return l.Items, l.Continue, err
	})
	f.Services = everywhere(ctx, e.namespace, func(ctx context.Context, in, next string) ([]corev1.Service, string, error) {
		l, err := e.clients.CoreV1().Services(in).List(ctx, page(next))
		return l.Items, l.Continue, err
	})
	f.NetworkPolicies = everywhere(ctx, e.namespace, e.networkPolicies)
	f.Policies = everywhere(ctx, e.namespace, func(ctx context.Context, in, next string) ([]v1alpha1.SecurityPolicy, string, error) {
		l := &v1alpha1.SecurityPolicyList{}
		err := e.reader.List(ctx, l, client.InNamespace(in), client.Limit(pageSize), client.Continue(next))
		return l.Items, l.Continue, err
	})
	f.Classes = everywhere(ctx, "", func(ctx context.Context, _, next string) ([]v1alpha1.SidecarClass, string, error) {
		l := &v1alpha1.SidecarClassList{}
		err := e.reader.List(ctx, l, client.Limit(pageSize), client.Continue(next))
		return l.Items, l.Continue, err
	})
	if name := e.options.class; name != "" && f.Classes.Err == nil {
		f.Classes.Value = slices.DeleteFunc(f.Classes.Value, func(c v1alpha1.SidecarClass) bool { return c.Name != name })
		if len(f.Classes.Value) == 0 {
			f.Classes.Err = fmt.Errorf("there is no SidecarClass %q", name)
		}
	}
}
