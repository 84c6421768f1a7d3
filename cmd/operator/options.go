package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/controllers/certs"
	"github.com/posterndev/postern/controllers/render"
)

// options are the operator's flags.
type options struct {
	namespace   string
	webhookPort int
	deliverPort int
	metricsAddr string
	healthAddr  string

	image       string
	pullPolicy  string
	mirrors     string
	operatorURL string
	services    string

	webhookConfiguration    string
	validatingConfiguration string
	excluded                string
	certMode                string
	certSecret              string
	signingKeySecret        string

	leaderElect bool
	logLevel    slog.Level
	logFormat   string
}

// parseOptions parses the flags. The default of the namespace is read from the environment.
func parseOptions(args []string, getenv func(string) string) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("operator", flag.ContinueOnError)
	f.StringVar(&o.namespace, "operator-namespace", getenv("POD_NAMESPACE"), "namespace that the operator runs in (default: the environment variable POD_NAMESPACE)")
	f.IntVar(&o.webhookPort, "webhook-port", 9443, "port of the pod webhook")
	f.IntVar(&o.deliverPort, "deliver-port", 9444, "port of the sidecars' long poll")
	f.StringVar(&o.metricsAddr, "metrics-bind-address", ":8080", "address of the metrics; 0 disables them")
	f.StringVar(&o.healthAddr, "health-probe-bind-address", ":8081", "address of /healthz and /readyz")
	f.StringVar(&o.image, "sidecar-image", "", "image of sidecars if their class does not name one")
	f.StringVar(&o.pullPolicy, "sidecar-image-pull-policy", string(corev1.PullIfNotPresent), "Always, IfNotPresent or Never")
	f.StringVar(&o.mirrors, "sidecar-image-mirrors", "", "comma-separated registries, with an optional path, at which other webhooks may pull the sidecar's image, for example registry.example/cache")
	f.StringVar(&o.operatorURL, "operator-url", "", "URL that sidecars poll, for example https://postern-operator.postern-system.svc:9444")
	f.StringVar(&o.services, "operator-service", "", "comma-separated Services of the operator, for the DNS names of its certificate")
	f.StringVar(&o.webhookConfiguration, "webhook-configuration", "postern", "MutatingWebhookConfiguration to write the CA to")
	f.StringVar(&o.validatingConfiguration, "validating-webhook-configuration", "", "ValidatingWebhookConfiguration to write the CA to; empty if the validating webhook is not used")
	f.StringVar(&o.excluded, "excluded-namespaces", "", "comma-separated namespaces that the webhook's configuration excludes even if they are labelled; the operator's namespace is always excluded")
	f.StringVar(&o.certMode, "cert-mode", string(certs.Own), "Own, or CertManager if cert-manager issues the certificate")
	f.StringVar(&o.certSecret, "cert-secret", "postern-certs", "Secret with the certificate")
	f.StringVar(&o.signingKeySecret, "signing-key-secret", "postern-signing-key", "Secret with the key that signs documents")
	f.BoolVar(&o.leaderElect, "leader-elect", false, "enable leader election, so that only one of several replicas reconciles")
	f.TextVar(&o.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	f.StringVar(&o.logFormat, "log-format", "json", "json or text")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("reading flags: %q is not a flag", f.Arg(0))
	}
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("reading flags: %w", err)
	}
	return o, nil
}

func (o *options) validate() error {
	u, err := url.Parse(o.operatorURL)
	_, mirrorsErr := render.ParseImageMirrors(o.mirrors)
	switch {
	case mirrorsErr != nil:
		return fmt.Errorf("--sidecar-image-mirrors: %w", mirrorsErr)
	case o.namespace == "":
		return errors.New("--operator-namespace or POD_NAMESPACE is required")
	case o.image == "":
		return errors.New("--sidecar-image is required")
	case err != nil || u.Scheme != "https" || u.Hostname() == "":
		return fmt.Errorf("--operator-url %q is not an https URL", o.operatorURL)
	case !slices.Contains([]corev1.PullPolicy{corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever}, corev1.PullPolicy(o.pullPolicy)):
		return fmt.Errorf("--sidecar-image-pull-policy %q is not Always, IfNotPresent or Never", o.pullPolicy)
	case o.certMode != string(certs.Own) && o.certMode != string(certs.CertManager):
		return fmt.Errorf("--cert-mode %q is not Own or CertManager", o.certMode)
	case o.logFormat != "json" && o.logFormat != "text":
		return fmt.Errorf("--log-format %q is not json or text", o.logFormat)
	}
	return nil
}

// dnsNames returns the DNS names of the serving certificate: the cluster's names of the Services, and the host of the
// URL that sidecars poll.
func (o *options) dnsNames() []string {
	var names []string
	add := func(name string) {
		if name != "" && net.ParseIP(name) == nil && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for service := range strings.SplitSeq(o.services, ",") {
		service = strings.TrimSpace(service)
		if service == "" || strings.Contains(service, ".") {
			add(service)
			continue
		}
		add(service + "." + o.namespace + ".svc")
		add(service + "." + o.namespace + ".svc.cluster.local")
	}
	if u, err := url.Parse(o.operatorURL); err == nil {
		add(u.Hostname())
	}
	return names
}

// excludedNamespaces returns the namespaces that the webhook ignores.
func (o *options) excludedNamespaces() []string {
	out := []string{o.namespace}
	for namespace := range strings.SplitSeq(o.excluded, ",") {
		if namespace = strings.TrimSpace(namespace); namespace != "" {
			out = append(out, namespace)
		}
	}
	return out
}

func (o *options) logger(w io.Writer) *slog.Logger {
	handler := &slog.HandlerOptions{Level: o.logLevel}
	if o.logFormat == "text" {
		return slog.New(slog.NewTextHandler(w, handler))
	}
	return slog.New(slog.NewJSONHandler(w, handler))
}
