//go:build !nocluster

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/cmd/postern/internal/overview"
)

// pageSize bounds one response of the API server, in objects.
const pageSize = 500

// observe reads what an overview is computed from: of one namespace, or of all if namespace is empty. What the person may not read is
// named in the result. It is an error only if policies cannot be read.
func observe(ctx context.Context, c client.Reader, namespace string) (overview.Input, error) {
	o := observer{reader: c, namespace: namespace, in: overview.Input{Now: time.Now()}}
	policies := &v1alpha1.SecurityPolicyList{}
	if err := o.pages(ctx, policies, func() { o.in.Policies = append(o.in.Policies, policies.Items...) }); err != nil {
		return overview.Input{}, policiesUnread(err, namespace)
	}
	o.namespaces(ctx)
	pods := &corev1.PodList{}
	o.in.PodsKnown = o.list(ctx, pods, "pods", "pods are not looked at: their numbers are the operator's", func() { o.in.Pods = append(o.in.Pods, pods.Items...) })
	classes := &v1alpha1.SidecarClassList{}
	o.in.ClassesKnown = o.list(ctx, classes, "sidecarclasses.postern.dev", "SidecarClasses and the images that they name are not looked at",
		func() { o.in.Classes = append(o.in.Classes, classes.Items...) })
	o.workloads(ctx)
	return o.in, ctx.Err()
}

// policiesUnread says why policies cannot be read.
func policiesUnread(err error, namespace string) error {
	where, hint := "namespace "+namespace, "ask for the ClusterRole postern-policy-viewer, or view, in the namespace"
	if namespace == "" {
		where, hint = "all namespaces", "name one with -n"
	}
	switch {
	case apierrors.IsForbidden(err):
		return fmt.Errorf("you may not list securitypolicies.postern.dev in %s: %s", where, hint)
	case apierrors.IsNotFound(err):
		return errors.New("the API server has no SecurityPolicies: Postern is not installed in this cluster (see docs/install.md), or the kubeconfig names another cluster")
	}
	return fmt.Errorf("listing policies in %s: %w", where, err)
}

// observer collects the input of an overview.
type observer struct {
	reader    client.Reader
	namespace string
	in        overview.Input
}

// pages lists all objects in pages, and calls add after each.
func (o *observer) pages(ctx context.Context, into client.ObjectList, add func()) error {
	for next := ""; ; {
		if err := o.reader.List(ctx, into, client.InNamespace(o.namespace), client.Limit(pageSize), client.Continue(next)); err != nil {
			return err
		}
		add()
		if next = into.GetContinue(); next == "" {
			return nil
		}
		if err := meta.SetList(into, nil); err != nil {
			return err
		}
	}
}

// list reports whether the objects could be read, and notes what could not.
func (o *observer) list(ctx context.Context, into client.ObjectList, resource, consequence string, add func()) bool {
	err := o.pages(ctx, into, add)
	if err != nil {
		o.unread("list "+resource, consequence, err)
	}
	return err == nil
}

func (o *observer) unread(right, consequence string, err error) {
	if !apierrors.IsForbidden(err) {
		right = ""
	}
	o.in.Unread = append(o.in.Unread, overview.Unread{Right: right, Error: err.Error(), Consequence: consequence})
}

// namespaces reads the labels of the namespaces.
func (o *observer) namespaces(ctx context.Context) {
	const consequence = "the label " + v1alpha1.InjectionLabel + " is not looked at"
	if o.namespace != "" {
		n := &corev1.Namespace{}
		err := o.reader.Get(ctx, client.ObjectKey{Name: o.namespace}, n)
		if err != nil {
			o.unread("get namespaces", consequence, err)
		}
		o.in.Namespaces = []overview.Namespace{{Name: o.namespace, Labels: n.Labels, Known: err == nil}}
		return
	}
	list := &corev1.NamespaceList{}
	o.list(ctx, list, "namespaces", consequence, func() {
		for i := range list.Items {
			o.in.Namespaces = append(o.in.Namespaces, overview.Namespace{Name: list.Items[i].Name, Labels: list.Items[i].Labels, Known: true})
		}
	})
}

// workloads reads the Deployments, StatefulSets and DaemonSets.
func (o *observer) workloads(ctx context.Context) {
	const consequence = "it is not known why a policy has no pods"
	deployments, sets, daemons := &appsv1.DeploymentList{}, &appsv1.StatefulSetList{}, &appsv1.DaemonSetList{}
	read := []bool{
		o.list(ctx, deployments, "deployments.apps", consequence, func() {
			for i := range deployments.Items {
				o.in.Workloads = append(o.in.Workloads, overview.OfDeployment(&deployments.Items[i]))
			}
		}),
		o.list(ctx, sets, "statefulsets.apps", consequence, func() {
			for i := range sets.Items {
				o.in.Workloads = append(o.in.Workloads, overview.OfStatefulSet(&sets.Items[i]))
			}
		}),
		o.list(ctx, daemons, "daemonsets.apps", consequence, func() {
			for i := range daemons.Items {
				o.in.Workloads = append(o.in.Workloads, overview.OfDaemonSet(&daemons.Items[i]))
			}
		}),
	}
	o.in.WorkloadsKnown = read[0] && read[1] && read[2]
}
