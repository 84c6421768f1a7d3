package main

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/certs"
	"github.com/posterndev/postern/controllers/contextlog"
	"github.com/posterndev/postern/controllers/index"
	"github.com/posterndev/postern/controllers/policy"
	"github.com/posterndev/postern/controllers/render"
)

const (
	// leaderElectionID is the name of the Lease for leader election.
	leaderElectionID = "postern-operator"
	// startRetry is the time between two reads of the certificate's Secret at start.
	startRetry = 2 * time.Second
	// reconcilers is the number of policies that are reconciled concurrently.
	reconcilers = 4
)

// operator holds what the parts of this process share.
type operator struct {
	*options
	log    *slog.Logger
	keeper *certs.Keeper
	key    ed25519.PrivateKey
	// trimmer bounds what the cache holds of policies.
	trimmer *index.Trimmer
	// policies finds the policy of a pod.
	policies *index.Index
	// direct reads and writes without a cache.
	direct client.WithWatch
	// changed receives an event when the settings of injected sidecars change.
	changed chan event.GenericEvent
	ctrl.Manager
}

// settingsChanged triggers a reconcile of every policy. It never blocks: an event that is waiting already is enough.
func (op *operator) settingsChanged() {
	select {
	case op.changed <- event.GenericEvent{Object: &v1alpha1.SecurityPolicy{}}:
	default:
	}
}

// operate runs the operator until ctx ends.
func operate(ctx context.Context, rc *rest.Config, o *options, log *slog.Logger) error {
	// API priority and fairness limits the request rate. A client-side limit would delay documents behind status updates.
	rc.QPS = -1
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	ctx = contextlog.Into(ctx, log) // for code that runs outside of reconciles and requests
	op := &operator{options: o, log: log, changed: make(chan event.GenericEvent, 1)}
	if op.direct, err = client.NewWithWatch(rc, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("connecting to the API server: %w", err)
	}
	if op.key, err = certs.SigningKey(ctx, op.direct, types.NamespacedName{Namespace: o.namespace, Name: o.signingKeySecret}); err != nil {
		return fmt.Errorf("getting the signing key: %w", err)
	}
	if err := op.startKeeping(ctx); err != nil {
		return err
	}
	if err := op.newManager(rc, scheme); err != nil {
		return err
	}
	for _, add := range []func(context.Context) error{op.addDelivery, op.addWebhook, op.addReconcilers, op.addChecks} {
		if err := add(ctx); err != nil {
			return err
		}
	}
	if err := op.Start(ctx); err != nil {
		return fmt.Errorf("running: %w", err)
	}
	return nil
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("registering types: %w", err)
		}
	}
	return scheme, nil
}

// startKeeping waits for the first certificate, because sidecars are injected with its CA.
func (op *operator) startKeeping(ctx context.Context) error {
	keeper, err := certs.NewKeeper(certs.Config{
		Client: op.direct, Mode: certs.Mode(op.certMode), DNSNames: op.dnsNames(), Webhook: op.webhookConfiguration, Validating: op.validatingConfiguration,
		Secret: types.NamespacedName{Namespace: op.namespace, Name: op.certSecret}, OnChange: op.settingsChanged, Now: time.Now,
	})
	if err != nil {
		return fmt.Errorf("keeping certificates: %w", err)
	}
	if err := keeper.Register(metrics.Registry); err != nil {
		return err
	}
	for {
		err := keeper.Ensure(ctx)
		if keeper.CA() != nil {
			op.keeper = keeper
			return nil
		}
		op.log.Warn("waiting for the serving certificate", "error", err)
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the serving certificate: %w", ctx.Err())
		case <-time.After(startRetry):
		}
	}
}

func (op *operator) newManager(rc *rest.Config, scheme *runtime.Scheme) error {
	op.trimmer = index.NewTrimmer()
	caches, err := policy.CacheOptions(op.key.Public().(ed25519.PublicKey), op.trimmer.Transform, op.webhookConfiguration)
	if err != nil {
		return fmt.Errorf("restricting caches: %w", err)
	}
	op.Manager, err = ctrl.NewManager(rc, ctrl.Options{
		Scheme: scheme, Cache: caches, Logger: logr.FromSlogHandler(op.log.Handler()),
		Metrics:                metricsserver.Options{BindAddress: op.metricsAddr},
		HealthProbeBindAddress: op.healthAddr,
		LeaderElection:         op.leaderElect, LeaderElectionID: leaderElectionID, LeaderElectionNamespace: op.namespace,
		LeaderElectionReleaseOnCancel: true,
		Controller:                    config.Controller{MaxConcurrentReconciles: reconcilers},
		WebhookServer: webhook.NewServer(webhook.Options{Port: op.webhookPort, TLSOpts: []func(*tls.Config){func(c *tls.Config) {
			c.GetCertificate, c.MinVersion, c.NextProtos = op.keeper.GetCertificate, tls.VersionTLS12, []string{"http/1.1"}
		}}}),
	})
	if err != nil {
		return fmt.Errorf("creating manager: %w", err)
	}
	if err := op.Add(op.keeper); err != nil {
		return fmt.Errorf("keeping certificates: %w", err)
	}
	secret := types.NamespacedName{Namespace: op.namespace, Name: op.signingKeySecret}
	if err := op.Add(&certs.SigningKeeper{Client: op.direct, Secret: secret, Key: op.key}); err != nil {
		return fmt.Errorf("keeping the signing key: %w", err)
	}
	return nil
}

// settings returns the current settings of injected sidecars. It is called for each injection, because the CA may change.
func (op *operator) settings() render.Settings {
	mirrors, _ := render.ParseImageMirrors(op.mirrors) // validate has parsed them
	return render.Settings{
		OperatorURL: op.operatorURL, OperatorCA: string(op.keeper.CA()), OperatorIdentity: op.keeper.Identity(), DocumentKey: op.key.Public().(ed25519.PublicKey),
		Image: op.image, ImagePullPolicy: corev1.PullPolicy(op.pullPolicy), ImageMirrors: mirrors,
	}
}

func (op *operator) addChecks(context.Context) error {
	informers := &informersSynced{cache: op.GetCache()}
	if err := op.Add(informers); err != nil {
		return fmt.Errorf("watching informers: %w", err)
	}
	if err := op.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("adding health check: %w", err)
	}
	for name, check := range map[string]healthz.Checker{
		"certificates": op.keeper.Ready, "informers": informers.Ready, "webhook": op.GetWebhookServer().StartedChecker(),
	} {
		if err := op.AddReadyzCheck(name, check); err != nil {
			return fmt.Errorf("adding readiness check %q: %w", name, err)
		}
	}
	return nil
}
