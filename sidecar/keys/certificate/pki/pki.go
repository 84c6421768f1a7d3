// Package pki gets certificates from the PKI engine of Vault.
package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/keys/certificate"
	"github.com/posterndev/postern/sidecar/keys/vault"
)

// Request is what is asked of the engine. Role and CommonName are required.
type Request struct {
	// Mount is the engine; empty for "pki".
	Mount, Role, CommonName string
	AltNames                []string
	// TTL is the lifetime; 0 for that of the role.
	TTL time.Duration
}

// Issuer issues the certificates of one Request. It implements certificate.Issuer.
type Issuer struct {
	client *vault.Client
	path   string
	body   map[string]any
}

var _ certificate.Issuer = (*Issuer)(nil)

// New returns an Issuer.
func New(client *vault.Client, r Request) (*Issuer, error) {
	path := vault.MountPath(r.Mount, "pki") + "/issue/" + r.Role
	if err := check.VaultPath(path); err != nil || strings.Contains(r.Role, "/") {
		return nil, fmt.Errorf("setting up PKI: the mount %.64q or the role %.64q is not valid", r.Mount, r.Role)
	}
	for _, name := range append([]string{r.CommonName}, r.AltNames...) {
		if name == "" || strings.ContainsAny(name, ", ") {
			return nil, fmt.Errorf("setting up PKI: %.64q is not a DNS name", name)
		}
	}
	// With the format pem_bundle the key would be in the certificate's field too.
	body := map[string]any{"common_name": r.CommonName, "format": "pem", "private_key_format": "pkcs8"}
	if len(r.AltNames) > 0 {
		body["alt_names"] = strings.Join(r.AltNames, ",")
	}
	if r.TTL > 0 {
		body["ttl"] = fmt.Sprintf("%ds", int(r.TTL.Seconds()))
	}
	return &Issuer{client: client, path: path, body: body}, nil
}

// Issue implements certificate.Issuer with one request. Errors are of type *vault.Error, the context's, or about the response.
func (i *Issuer) Issue(ctx context.Context) (tls.Certificate, error) {
	data, err := i.client.Write(ctx, i.path, i.body)
	if err != nil {
		return tls.Certificate{}, err
	}
	chain, key, err := parse(data)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("reading the response of %s: %w", i.path, err)
	}
	pair, err := tls.X509KeyPair(chain, key)
	clear(key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("reading the response of %s: %w", i.path, err)
	}
	return pair, nil
}

// Forget removes the failures of the path from the client's state.
func (i *Issuer) Forget() { i.client.Forget(i.path) }

// parse returns the chain and the key of a response. The root is left out of the chain: clients have it, or must not trust it.
func parse(data map[string]any) (chain, key []byte, err error) {
	leaf, _ := data["certificate"].(string)
	private, _ := data["private_key"].(string)
	if leaf == "" || private == "" {
		return nil, nil, errors.New("it has no certificate or no private key")
	}
	parts := []string{leaf}
	for _, entry := range list(data["ca_chain"]) {
		ca, _ := entry.(string)
		if !selfSigned(ca) {
			parts = append(parts, ca)
		}
	}
	return []byte(strings.Join(parts, "\n")), []byte(private), nil
}

func list(v any) []any {
	entries, _ := v.([]any)
	return entries
}

// selfSigned reports whether a CA certificate in PEM names itself as its issuer. What cannot be parsed is refused with the chain.
func selfSigned(text string) bool {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return false
	}
	c, err := x509.ParseCertificate(block.Bytes)
	return err == nil && string(c.RawIssuer) == string(c.RawSubject)
}
