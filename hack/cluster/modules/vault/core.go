package main

import (
	"context"
	"fmt"
	"os"

	"github.com/hashicorp/go-hclog"
	authkubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	"github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/logical/database"
	"github.com/hashicorp/vault/builtin/logical/pki"
	"github.com/hashicorp/vault/builtin/logical/transit"
	"github.com/hashicorp/vault/helper/namespace"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

// newCore makes a Vault over memory, unseals it, and gives its root token the value asked for.
func newCore(ctx context.Context, rootToken string) (core *vault.Core, unsealKey []byte, err error) {
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: os.Stderr})
	storage, err := inmem.NewInmem(nil, log)
	if err != nil {
		return nil, nil, fmt.Errorf("making storage: %w", err)
	}
	secrets := map[string]logical.Factory{
		"kv": kv.Factory, "transit": transit.Factory, "pki": pki.Factory, "database": database.Factory,
	}
	auth := map[string]logical.Factory{"kubernetes": authkubernetes.Factory, "approle": approle.Factory}
	core, err = vault.NewCore(&vault.CoreConfig{
		Physical:           storage,
		DisableMlock:       true,
		Logger:             log,
		LogicalBackends:    secrets,
		CredentialBackends: auth,
		BuiltinRegistry:    newRegistry(secrets, auth),
	})
	if err != nil {
		return nil, nil, fmt.Errorf("making core: %w", err)
	}
	initial, err := core.Initialize(ctx, &vault.InitParams{
		BarrierConfig:  &vault.SealConfig{SecretShares: 1, SecretThreshold: 1},
		RecoveryConfig: &vault.SealConfig{},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("initialising: %w", err)
	}
	unsealKey = initial.SecretShares[0]
	// Unseal wipes what it is given.
	if _, err := core.Unseal(append([]byte(nil), unsealKey...)); err != nil {
		return nil, nil, fmt.Errorf("unsealing: %w", err)
	}
	if err := createRootToken(ctx, core, initial.RootToken, rootToken); err != nil {
		return nil, nil, err
	}
	return core, unsealKey, nil
}

// createRootToken makes a root token of a chosen value with the one that the core chose.
func createRootToken(ctx context.Context, core *vault.Core, initial, chosen string) error {
	response, err := core.HandleRequest(namespace.RootContext(ctx), &logical.Request{
		Operation:   logical.UpdateOperation,
		ClientToken: initial,
		Path:        "auth/token/create",
		Data: map[string]any{
			"id": chosen, "policies": []string{"root"}, "no_parent": true, "no_default_policy": true,
		},
	})
	if err == nil {
		err = response.Error()
	}
	if err != nil {
		return fmt.Errorf("creating root token: %w", err)
	}
	return nil
}
