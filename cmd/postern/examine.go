//go:build !nocluster

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	authzv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/cmd/postern/internal/doctor"
	"github.com/posterndev/postern/cmd/postern/internal/scrape"
	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/rights"
)

const (
	// maxSidecars bounds the sidecars that doctor asks.
	maxSidecars = 10
	// connectTimeout bounds a connection to a pod, or to Redis.
	connectTimeout = 5 * time.Second
)

// examination reads the facts that package doctor judges.
type examination struct {
	options   *doctorOptions
	namespace string
	config    *rest.Config
	clients   *kubernetes.Clientset
	reader    client.Reader
	proxy     *podProxy
}

func newExamination(o *doctorOptions, warnings io.Writer) (*examination, error) {
	namespace, err := o.access.namespaceName()
	if err != nil {
		return nil, err
	}
	config, err := o.access.rest(warnings)
	if err != nil {
		return nil, err
	}
	e := &examination{options: o, namespace: namespace, config: config}
	if e.clients, err = kubernetes.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("connecting to the API server: %w", err)
	}
	if e.reader, err = reader(config); err != nil {
		return nil, err
	}
	e.proxy, err = newPodProxy(config, e.clients)
	return e, err
}

// facts reads everything. It fails only if the API server does not respond at all.
func (e *examination) facts(ctx context.Context) (*doctor.Facts, error) {
	f := &doctor.Facts{Now: time.Now(), Client: version, OperatorNamespace: e.options.operator, Namespace: e.namespace}
	info, err := e.clients.Discovery().ServerVersion()
	if err != nil && !apierrors.IsForbidden(err) && !apierrors.IsUnauthorized(err) {
		return nil, fmt.Errorf("connecting to the API server: %w", err)
	}
	f.Kubernetes.Err = err
	if err == nil {
		f.Kubernetes.Value = info.GitVersion
	}
	e.readClock(ctx, f)
	if f.WantCRDs, err = embeddedCRDs(); err != nil {
		return nil, err
	}
	e.readCRDs(ctx, f)
	e.readOperator(ctx, f)
	e.readObjects(ctx, f)
	e.readRights(ctx, f)
	f.DryRun = e.dryRun(ctx, f)
	if !e.options.noConnect {
		f.Serving = e.servingCertificate(ctx, f)
		f.Sidecars = e.askSidecars(ctx, f)
	}
	if e.options.redis != "" {
		f.Redis.Value, f.Redis.Err = examineRedis(ctx, e.options.redis, e.options.redisCA, e.namespace)
	}
	return f, ctx.Err()
}

func (e *examination) readClock(ctx context.Context, f *doctor.Facts) {
	_, clock, err := fetch(ctx, e.proxy.client, e.clients.Discovery().RESTClient().Get().AbsPath("/version").URL().String())
	f.Clock = doctor.Read[doctor.Clock]{Value: clock, Err: err}
}

// neededRights are those that the commands need, and what needs them.
var neededRights = []struct {
	authzv1.ResourceAttributes
	use string
}{
	{authzv1.ResourceAttributes{Verb: "list", Group: v1alpha1.GroupVersion.Group, Resource: "securitypolicies"}, "postern status"},
	{authzv1.ResourceAttributes{Verb: "list", Group: v1alpha1.GroupVersion.Group, Resource: "sidecarclasses"}, "the images that postern status compares"},
	{authzv1.ResourceAttributes{Verb: "list", Resource: "pods"}, "postern status, top, sessions and unlock"},
	{authzv1.ResourceAttributes{Verb: "get", Resource: "pods", Subresource: "proxy"}, "postern top"},
	{authzv1.ResourceAttributes{Verb: "create", Resource: "pods", Subresource: "portforward"}, "postern sessions, unlock and top --accounts"},
	{authzv1.ResourceAttributes{Verb: "get", Resource: "configmaps"}, "postern explain --pod"},
	{authzv1.ResourceAttributes{Verb: "create", Group: v1alpha1.GroupVersion.Group, Resource: "tokenrevocations"}, "postern revoke"},
}

func (e *examination) readRights(ctx context.Context, f *doctor.Facts) {
	for i := range neededRights {
		a := neededRights[i].ResourceAttributes
		a.Namespace = e.namespace
		review, err := e.clients.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx,
			&authzv1.SelfSubjectAccessReview{Spec: authzv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &a}}, metav1.CreateOptions{})
		if err != nil {
			f.Rights.Err = err
			break
		}
		f.Rights.Value = append(f.Rights.Value, doctor.Right{Name: rights.Name(&a), For: neededRights[i].use, Allowed: review.Status.Allowed})
	}
	account := doctor.OperatorName
	if d := f.Operator.Value; d != nil && d.Spec.Template.Spec.ServiceAccountName != "" {
		account = d.Spec.Template.Spec.ServiceAccountName
	}
	for _, a := range rights.Needed() {
		review, err := e.clients.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authzv1.SubjectAccessReview{Spec: authzv1.SubjectAccessReviewSpec{
			User:   fmt.Sprintf("system:serviceaccount:%s:%s", f.OperatorNamespace, account),
			Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + f.OperatorNamespace, "system:authenticated"}, ResourceAttributes: &a,
		}}, metav1.CreateOptions{})
		if err != nil {
			f.OperatorRights.Err = err
			break
		}
		f.OperatorRights.Value = append(f.OperatorRights.Value, doctor.Right{Name: rights.Name(&a), Allowed: review.Status.Allowed})
	}
}

// servingCertificate returns when the certificate expires that an operator's pod presents on its webhook port.
func (e *examination) servingCertificate(ctx context.Context, f *doctor.Facts) doctor.Read[time.Time] {
	fail := func(err error) doctor.Read[time.Time] { return doctor.Read[time.Time]{Err: err} }
	i := slices.IndexFunc(f.OperatorPods.Value, func(p corev1.Pod) bool { return ready(&p) })
	if i < 0 {
		return fail(errors.New("no ready pod of the operator is known"))
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	port, stop, err := forwardTo(ctx, e.config, e.clients, &f.OperatorPods.Value[i], operatorWebhookPort)
	if err != nil {
		return fail(fmt.Errorf("forwarding a port to pod %q: %w", f.OperatorPods.Value[i].Name, err))
	}
	defer stop()
	return certificateExpiry(ctx, fmt.Sprintf("127.0.0.1:%d", port))
}

// operatorWebhookPort is the port of the operator's pods on which the API server calls the webhook.
const operatorWebhookPort = 9443

// certificateExpiry returns when the certificate of a server expires. It is only looked at: the API server is the one that verifies it.
func certificateExpiry(ctx context.Context, address string) doctor.Read[time.Time] {
	dialer := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return doctor.Read[time.Time]{Err: fmt.Errorf("connecting to the operator: %w", err)}
	}
	defer conn.Close()
	return doctor.Read[time.Time]{Value: conn.(*tls.Conn).ConnectionState().PeerCertificates[0].NotAfter}
}

// askSidecars reads the metrics of some ready sidecars.
func (e *examination) askSidecars(ctx context.Context, f *doctor.Facts) []doctor.Sidecar {
	var out []doctor.Sidecar
	for i := range f.Pods.Value {
		pod := &f.Pods.Value[i]
		if _, ok := deliver.BoundPolicy(pod); !ok || !ready(pod) || len(out) == maxSidecars {
			continue
		}
		s := doctor.Sidecar{Namespace: pod.Namespace, Pod: pod.Name}
		bounded, cancel := context.WithTimeout(ctx, connectTimeout)
		var body []byte
		if body, s.Clock, s.Err = e.proxy.get(bounded, pod.Namespace, pod.Name, int(compiled.AdminPort), "/metrics"); s.Err == nil {
			s.Values, s.Err = scrape.Totals(body)
		}
		cancel()
		out = append(out, s)
		if apierrors.IsForbidden(s.Err) {
			break
		}
	}
	return out
}
