package certs

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/controllers/contextlog"
)

// recheckKey is how often the signing key's Secret is compared with the key in use.
const recheckKey = 30 * time.Second

// ErrOtherKey is returned if the Secret holds another key than the one in use.
var ErrOtherKey = errors.New("the Secret holds another signing key than the one in use: the operator must restart with it")

// SigningKeeper checks the Secret of the signing key in use. It is a manager.Runnable that runs on every replica. If the Secret
// was deleted, it is created again. If it lost the key (the chart created it again), the key is written back, because running sidecars
// trust no other. If the Secret has another key (a user rotates it), the operator ends with ErrOtherKey: replicas that sign with
// different keys would refuse each other's documents.
type SigningKeeper struct {
	Client client.Client
	Secret types.NamespacedName
	Key    ed25519.PrivateKey
	// last is the Secret as it was read last; nil before.
	last *corev1.Secret
}

// NeedLeaderElection says that every replica checks the Secret.
func (k *SigningKeeper) NeedLeaderElection() bool { return false }

// Start compares until ctx ends or the Secret holds another key. It does not stop if the Secret cannot be read.
func (k *SigningKeeper) Start(ctx context.Context) error {
	failing := outage{what: "the signing key's Secret cannot be checked or restored", ended: "the signing key's Secret can be checked again"}
	for sleep(ctx, recheckKey, nil) {
		err := k.compare(ctx)
		if errors.Is(err, ErrOtherKey) {
			return err
		}
		failing.observe(ctx, err)
	}
	return nil
}

// restore creates the Secret again if it was deleted and was read before. Its key is written afterwards.
func (k *SigningKeeper) restore(ctx context.Context) error {
	secret := &corev1.Secret{}
	switch err := k.Client.Get(ctx, k.Secret, secret); {
	case err == nil:
		k.last = remembered(secret)
		k.last.Data = nil
	case apierrors.IsNotFound(err) && k.last != nil:
		if err := restore(ctx, k.Client, k.last); client.IgnoreAlreadyExists(err) != nil {
			return err
		}
		contextlog.From(ctx).Warn("restored the Secret of the signing key, which was deleted", "secret", k.Secret.String())
	}
	return nil // keepSigningKey reports other errors
}

func (k *SigningKeeper) compare(ctx context.Context) error {
	if err := k.restore(ctx); err != nil {
		return err
	}
	kept, err := keepSigningKey(ctx, k.Client, k.Secret, func() (ed25519.PrivateKey, error) { return k.Key, nil })
	if err != nil {
		return err
	}
	if !kept.Equal(k.Key) {
		return fmt.Errorf("comparing Secret %q: %w", k.Secret, ErrOtherKey)
	}
	return nil
}
