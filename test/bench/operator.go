package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/test/apiserver"
)

// Sizes of the operator's rows.
const (
	// policyNamespaces is the number of namespaces over which policies and pods are spread.
	policyNamespaces = 100
	// applyClients is the number of clients that create objects, with a connection each.
	applyClients = 8
	// operatorLimit is the memory limit of the operator in the chart, in bytes.
	operatorLimit = 1 << 30
)

// operators measures one operator, with the objects of one API server.
type operators struct {
	*bench
	server  *apiserver.Server
	clients []client.Client
	view    *view
	process *program
	// metrics is the address of the operator's metrics.
	metrics string
	// sample is the policy of which all are copies.
	sample *v1alpha1.SecurityPolicy
}

// operator measures the operator at each number of policies, each with a new API server, and the rest at the highest number.
func (b *bench) operator(ctx context.Context) error {
	if err := goBuild(ctx, b.dir, "cmd/operator"); err != nil {
		return err
	}
	var rows []*scale
	for i, n := range b.scales {
		row, err := b.atScale(ctx, n, i == len(b.scales)-1)
		if err != nil {
			return fmt.Errorf("%d policies: %w", n, err)
		}
		rows = append(rows, row)
		if err := b.printScales(rows); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) atScale(ctx context.Context, n int, last bool) (row *scale, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	before := len(b.programs)
	defer func() { b.stop(before) }()
	o, err := b.newOperators(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, o.server.Stop()) }()
	defer cancel() // the view's watches end before the server
	if row, err = o.scale(ctx, n); err != nil || !last {
		return row, err
	}
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"change", func(ctx context.Context) error { return o.changes(ctx, n) }},
		{"admission", func(ctx context.Context) error { return o.admission(ctx, n) }},
		{"pods", func(ctx context.Context) error { return o.fleets(ctx, n) }},
	} {
		if !b.selected("operator/" + part.name) {
			continue
		}
		if err := part.run(ctx); err != nil {
			return row, fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return row, nil
}

// newOperators starts an API server, and the operator in it, with empty namespaces.
func (b *bench) newOperators(ctx context.Context) (o *operators, err error) {
	fmt.Fprintln(b.progress, "operator: starting an API server")
	o = &operators{bench: b, sample: &v1alpha1.SecurityPolicy{}}
	content, err := os.ReadFile(filepath.Join("config", "samples", "securitypolicy.yaml"))
	if err != nil {
		return nil, err
	}
	if err := yaml.UnmarshalStrict(content, o.sample); err != nil {
		return nil, fmt.Errorf("reading the sample: %w", err)
	}
	if o.server, err = apiserver.Start(ctx, "."); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.server.Stop())
		}
	}()
	for range applyClients {
		c, err := o.server.NewClient()
		if err != nil {
			return nil, err
		}
		o.clients = append(o.clients, c)
	}
	if err := each(ctx, applyClients, policyNamespaces, func(ctx context.Context, i int) error {
		return o.createNamespace(ctx, o.clients[i%applyClients], namespaceOf(i), true)
	}); err != nil {
		return nil, err
	}
	if err := o.createNamespace(ctx, o.clients[0], plainNamespace, false); err != nil {
		return nil, err
	}
	if o.view, err = newView(ctx, o.server); err != nil {
		return nil, err
	}
	return o, o.startOperator(ctx)
}

// plainNamespace is not labelled, so that its pods do not reach the webhook.
const plainNamespace = "plain"

func namespaceOf(i int) string { return fmt.Sprintf("team-%02d", i%policyNamespaces) }

func (o *operators) createNamespace(ctx context.Context, c client.Client, name string, enabled bool) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if enabled {
		namespace.Labels = map[string]string{v1alpha1.InjectionLabel: v1alpha1.InjectionLabelEnabled}
	}
	if err := c.Create(ctx, namespace); err != nil {
		return err
	}
	return c.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "app"}})
}

// policy returns a new policy that selects the pods with its name in the label app.
func (o *operators) policy(namespace, name string) *v1alpha1.SecurityPolicy {
	p := o.sample.DeepCopy()
	p.ObjectMeta = metav1.ObjectMeta{Namespace: namespace, Name: name}
	p.Spec.Selector = metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
	return p
}

// policyName returns the namespace and the name of policy i.
func policyName(i int) client.ObjectKey {
	return client.ObjectKey{Namespace: namespaceOf(i), Name: fmt.Sprintf("app-%d", i)}
}

// parallel calls do for each of n objects, with one of the clients.
func (o *operators) parallel(ctx context.Context, n int, do func(ctx context.Context, c client.Client, i int) error) error {
	free := make(chan client.Client, len(o.clients))
	for _, c := range o.clients {
		free <- c
	}
	return each(ctx, len(o.clients), n, func(ctx context.Context, i int) error {
		c := <-free
		defer func() { free <- c }()
		return do(ctx, c, i)
	})
}
