package certs

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/controllers/contextlog"
)

// recheckKey is how often the signing key's Secret is compared with the key in use.
const recheckKey = 30 * time.Second

// ErrOtherKey is returned if the Secret holds another key than the one in use.
var ErrOtherKey = errors.New("the Secret holds another signing key than the one in use: the operator must restart with it")

// SigningKeeper checks the Secret of the signing key in use. It is a manager.Runnable that runs on every replica. If the Secret
// lost the key (it was deleted and the chart created it again), the key is written back, because running sidecars trust no
// other. If the Secret has another key (a user rotates it), the operator ends with ErrOtherKey: replicas that sign with
// different keys would refuse each other's documents.
type SigningKeeper struct {
	Client client.Client
	Secret types.NamespacedName
	Key    ed25519.PrivateKey
}

// NeedLeaderElection says that every replica checks the Secret.
func (k *SigningKeeper) NeedLeaderElection() bool { return false }

// Start compares until ctx ends or the Secret holds another key. It does not stop if the Secret cannot be read.
func (k *SigningKeeper) Start(ctx context.Context) error {
	for sleep(ctx, recheckKey, nil) {
		err := k.compare(ctx)
		if errors.Is(err, ErrOtherKey) {
			return err
		}
		if err != nil && ctx.Err() == nil {
			contextlog.From(ctx).Error("the signing key's Secret cannot be checked or restored", "error", err)
		}
	}
	return nil
}

func (k *SigningKeeper) compare(ctx context.Context) error {
	kept, err := keepSigningKey(ctx, k.Client, k.Secret, func() (ed25519.PrivateKey, error) { return k.Key, nil })
	if err != nil {
		return err
	}
	if !kept.Equal(k.Key) {
		return fmt.Errorf("comparing Secret %q: %w", k.Secret, ErrOtherKey)
	}
	return nil
}
