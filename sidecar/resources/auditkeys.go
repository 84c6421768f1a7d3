package resources

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/audit/hashchain"
	"github.com/posterndev/postern/sidecar/audit/personal"
	"github.com/posterndev/postern/sidecar/audit/trail"
	"github.com/posterndev/postern/sidecar/keys/signing"
	"github.com/posterndev/postern/sidecar/keys/signing/transit"
)

// trailKeys returns how the trail gets its keys; nil if it needs none.
func (a *Acquirer) trailKeys() (func(context.Context) (trail.Keys, error), error) {
	audit, options := a.policy.Audit, a.policy.AuditOptions
	if options.Key == nil && options.SigningKey == nil {
		return nil, nil
	}
	source, err := a.secret(options.Key)
	if err != nil {
		return nil, err
	}
	remote, err := a.transitSigner()
	if err != nil {
		return nil, err
	}
	now := a.shared.cfg.Now
	if now == nil {
		now = time.Now
	}
	return func(ctx context.Context) (k trail.Keys, err error) {
		if remote != nil {
			if k.Signer, err = remote(ctx); err != nil {
				return k, fmt.Errorf("reading the signing key of the audit trail: %w", err)
			}
		}
		if source == nil {
			return k, nil
		}
		master, err := source.Read(ctx)
		if err != nil {
			return k, fmt.Errorf("reading the key of the audit trail: %w", err)
		}
		keys, err := personal.Derive(master)
		if err != nil {
			return k, err
		}
		if k.Signer == nil {
			if k.Signer, err = hashchain.NewSigner(keys.Signing()); err != nil {
				return k, err
			}
		}
		k.Protector, err = personal.NewProtector(keys, pseudonyms(audit.Pseudonymise), fields(audit.Encrypt), now)
		return k, err
	}, nil
}

// transitSigner returns how the trail gets a signer whose key is in Vault; nil if it is not there.
func (a *Acquirer) transitSigner() (func(context.Context) (note.Signer, error), error) {
	k := a.policy.AuditOptions.SigningKey
	if k == nil {
		return nil, nil
	}
	client, err := a.vault()
	if err != nil {
		return nil, err
	}
	engine, err := transit.New(client, k.Mount)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (note.Signer, error) {
		versions, err := signing.TransitKey{Transit: engine, Key: k.Key, Algorithm: signing.EdDSA}.Versions(ctx)
		if err != nil {
			return nil, err
		}
		last := versions[len(versions)-1]
		public, ok := last.Public.(ed25519.PublicKey)
		if !ok {
			return nil, fmt.Errorf("the Transit key %q is not of the type ed25519", k.Key)
		}
		return hashchain.RemoteSigner{Public: public, SignWith: func(message []byte) ([]byte, error) {
			return last.Signer.Sign(context.Background(), message)
		}}, nil
	}, nil
}

// pseudonyms returns the fields that pseudonyms stand for.
func pseudonyms(names []string) (list []personal.Field) {
	for _, name := range names {
		if name == compiled.PseudonymClientAddress {
			list = append(list, personal.IPAddress)
		} else {
			list = append(list, personal.Subject)
		}
	}
	return list
}

// fields returns fields by their names in a record.
func fields(names []string) (list []personal.Field) {
	for _, name := range names {
		list = append(list, personal.Field(name))
	}
	return list
}
