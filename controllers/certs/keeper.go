package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/controllers/contextlog"
)

// Mode says who issues the serving certificate.
type Mode string

const (
	// Own: the operator issues it, and writes its CA into the webhook's configuration.
	Own Mode = "Own"
	// CertManager: cert-manager issues it and writes its CA into the webhook's configuration; the operator only reads it.
	CertManager Mode = "CertManager"
)

// How often everything is checked again without a change, and after an error.
const (
	recheck = time.Hour
	retry   = 5 * time.Second
)

// Config configures a Keeper.
type Config struct {
	// Client reads and writes without a cache: two objects, by name, and watches them.
	Client client.WithWatch
	Mode   Mode
	// Secret holds the certificate; the chart creates it, or cert-manager does.
	Secret types.NamespacedName
	// DNSNames are those of the operator's Service.
	DNSNames []string
	// Webhook is the name of the MutatingWebhookConfiguration whose caBundle is written. Validating is that of the
	// ValidatingWebhookConfiguration; empty if there is none.
	Webhook, Validating string
	// OnChange is called, if it is set, when Identity changes.
	OnChange func()
	Now      func() time.Time
}

// Keeper manages the serving certificate. It is a manager.Runnable that runs on every replica.
type Keeper struct {
	cfg     Config
	current atomic.Pointer[served]
	// last is the Secret as it was read or written last; nil before. Only Ensure uses it, and calls of Ensure do not overlap.
	last *corev1.Secret
}

// served is the certificate that the operator currently serves with, and its CA.
type served struct {
	certificate *tls.Certificate
	ca          []byte
	identity    string
}

// errNotReady is returned before there is a certificate.
var errNotReady = errors.New("there is no serving certificate yet")

// NewKeeper returns a keeper without a certificate: call Ensure, or Start it.
func NewKeeper(cfg Config) (*Keeper, error) {
	if cfg.Mode != Own && cfg.Mode != CertManager {
		return nil, fmt.Errorf("certificate mode %q is neither %s nor %s", cfg.Mode, Own, CertManager)
	}
	if len(cfg.DNSNames) == 0 && cfg.Mode == Own {
		return nil, errors.New("the serving certificate needs a DNS name")
	}
	return &Keeper{cfg: cfg}, nil
}

// GetCertificate returns the current certificate, for tls.Config.
func (k *Keeper) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := k.current.Load(); c != nil {
		return c.certificate, nil
	}
	return nil, errNotReady
}

// CA returns the certificates, as PEM, that clients of the operator trust; nil before there are any.
func (k *Keeper) CA() []byte {
	if c := k.current.Load(); c != nil {
		return c.ca
	}
	return nil
}

// Identity returns a text that is the same as long as clients that trust an earlier CA also trust the current certificate, and changes
// when they do not any more; empty before there is a certificate.
func (k *Keeper) Identity() string {
	if c := k.current.Load(); c != nil {
		return c.identity
	}
	return ""
}

// Ready is a readiness check.
func (k *Keeper) Ready(*http.Request) error {
	_, err := k.GetCertificate(nil)
	return err
}

// Ensure corrects the Secret and the webhook's caBundle, and serves the Secret's certificate from then on.
func (k *Keeper) Ensure(ctx context.Context) error {
	secret, err := k.ensureSecret(ctx)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(secret.Data[keyServing], secret.Data[keyServingKey])
	if err != nil {
		return fmt.Errorf("parsing serving certificate of Secret %q: %w", k.cfg.Secret, err)
	}
	identity, err := identityOf(secret.Data)
	if err != nil {
		return fmt.Errorf("reading CA of Secret %q: %w", k.cfg.Secret, err)
	}
	old := k.current.Load()
	if old == nil || !bytes.Equal(old.certificate.Certificate[0], pair.Certificate[0]) {
		contextlog.From(ctx).Info("serving with a new certificate", "notAfter", pair.Leaf.NotAfter, "dnsNames", pair.Leaf.DNSNames)
	}
	k.current.Store(&served{certificate: &pair, ca: secret.Data[keyCA], identity: identity})
	k.last = remembered(secret)
	if old != nil && old.identity != identity && k.cfg.OnChange != nil {
		k.cfg.OnChange()
	}
	if k.cfg.Mode == CertManager {
		return nil
	}
	return errors.Join(k.ensureWebhook(ctx, secret.Data[keyCA]), k.ensureValidating(ctx, secret.Data[keyCA]))
}

// ensureSecret returns the Secret, renewed if necessary.
func (k *Keeper) ensureSecret(ctx context.Context) (*corev1.Secret, error) {
	for range attempts {
		secret := &corev1.Secret{}
		err := k.cfg.Client.Get(ctx, k.cfg.Secret, secret)
		if apierrors.IsNotFound(err) && k.last != nil && k.cfg.Mode == Own {
			if err := restore(ctx, k.cfg.Client, k.last); client.IgnoreAlreadyExists(err) != nil {
				return nil, err
			}
			contextlog.From(ctx).Warn("restored the Secret of the certificates, which was deleted", "secret", k.cfg.Secret.String())
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading Secret %q (the chart creates it, or cert-manager does): %w", k.cfg.Secret, err)
		}
		if k.cfg.Mode == CertManager {
			return secret, nil
		}
		emptied := len(secret.Data[keyCA]) == 0 && k.last != nil
		if emptied { // deleted, and the chart created it again; sidecars trust the CA in use
			secret.Data = k.last.DeepCopy().Data
		}
		data, changed, err := renew(secret.Data, k.cfg.DNSNames, k.cfg.Now())
		if err != nil {
			return nil, fmt.Errorf("renewing certificates: %w", err)
		}
		if !changed && !emptied {
			return secret, nil
		}
		secret.Data = data
		switch err := k.cfg.Client.Update(ctx, secret); {
		case err == nil:
			contextlog.From(ctx).Info("renewed the certificates", "secret", k.cfg.Secret.String())
			return secret, nil
		case !apierrors.IsConflict(err):
			return nil, fmt.Errorf("writing Secret %q: %w", k.cfg.Secret, err)
		}
	}
	return nil, fmt.Errorf("writing Secret %q: it kept changing", k.cfg.Secret)
}

// ensureWebhook writes the CA into the configuration of the pod webhook.
func (k *Keeper) ensureWebhook(ctx context.Context, ca []byte) error {
	config := &admissionv1.MutatingWebhookConfiguration{}
	return k.ensureBundle(ctx, ca, bundled{"MutatingWebhookConfiguration", k.cfg.Webhook, config, func() (clients []*admissionv1.WebhookClientConfig) {
		for i := range config.Webhooks {
			clients = append(clients, &config.Webhooks[i].ClientConfig)
		}
		return clients
	}})
}

// ensureValidating writes the CA into the configuration of the validating webhook, if there is one.
func (k *Keeper) ensureValidating(ctx context.Context, ca []byte) error {
	if k.cfg.Validating == "" {
		return nil
	}
	config := &admissionv1.ValidatingWebhookConfiguration{}
	return k.ensureBundle(ctx, ca, bundled{"ValidatingWebhookConfiguration", k.cfg.Validating, config, func() (clients []*admissionv1.WebhookClientConfig) {
		for i := range config.Webhooks {
			clients = append(clients, &config.Webhooks[i].ClientConfig)
		}
		return clients
	}})
}

// bundled is a webhook configuration. clients returns the client configurations of the object after it was read.
type bundled struct {
	kind, name string
	object     client.Object
	clients    func() []*admissionv1.WebhookClientConfig
}

// ensureBundle writes the CA into each client configuration, so that the API server trusts the webhook.
func (k *Keeper) ensureBundle(ctx context.Context, ca []byte, config bundled) error {
	for range attempts {
		if err := k.cfg.Client.Get(ctx, types.NamespacedName{Name: config.name}, config.object); err != nil {
			return fmt.Errorf("reading %s %q: %w", config.kind, config.name, err)
		}
		changed := false
		for _, c := range config.clients() {
			if !bytes.Equal(c.CABundle, ca) {
				c.CABundle, changed = ca, true
			}
		}
		if !changed {
			return nil
		}
		switch err := k.cfg.Client.Update(ctx, config.object); {
		case err == nil:
			contextlog.From(ctx).Info("wrote the CA into the webhook configuration", "webhookConfiguration", config.name, "kind", config.kind)
			return nil
		case !apierrors.IsConflict(err):
			return fmt.Errorf("writing %s %q: %w", config.kind, config.name, err)
		}
	}
	return fmt.Errorf("writing %s %q: it kept changing", config.kind, config.name)
}
