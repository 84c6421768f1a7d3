package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/simulation"
)

// readToken returns the token that the request carries; empty for none, and for one that is made for the run.
func (o *explainOptions) readToken(stdin io.Reader) (string, error) {
	if o.client.dpopToken != "" {
		return o.client.dpopToken, nil
	}
	if o.token.token == "" && o.token.tokenFile == "" {
		if o.jwks != "" {
			return "", errors.New("--jwks verifies a token: add it with --token - or --token-file")
		}
		return "", nil
	}
	token, err := o.token.readToken(stdin)
	if err == nil && token == "" {
		err = errors.New("reading token: it is empty")
	}
	return token, err
}

// withKeys returns the document with the keys that verify the token, and the provider that issues it. It is a copy if --jwks replaces keys.
func (o *explainOptions) withKeys(p *compiled.Policy, token string) (document *compiled.Policy, provider string, err error) {
	if token == "" {
		return p, "", nil
	}
	issuer := simulation.Issuer(p, token)
	if o.jwks == "" {
		return p, issuer, o.readable(p, issuer)
	}
	keys, err := readBounded(o.jwks, maxKeys)
	if err != nil {
		return nil, "", fmt.Errorf("reading --jwks: %w", err)
	}
	if !json.Valid(keys) {
		return nil, "", errors.New("reading --jwks: the file is not JSON")
	}
	name := o.provider
	switch {
	case name != "":
	case issuer != "":
		name = issuer
	case len(p.Providers) == 1:
		name = p.Providers[0].Name
	}
	if name == compiled.OwnProvider && p.Tokens != nil {
		o.ownKeys = keys
		return p, issuer, nil
	}
	c := *p
	c.Providers = slices.Clone(p.Providers)
	for i := range c.Providers {
		if c.Providers[i].Name == name {
			c.Providers[i].Keys = compiled.Keys{Inline: keys}
			return &c, name, nil
		}
	}
	return nil, "", errors.New("--jwks belongs to one provider: name it with --provider")
}

// readable returns an error if the keys of the provider can be read in a pod only.
func (o *explainOptions) readable(p *compiled.Policy, provider string) error {
	for i := range p.Providers {
		if b := p.Providers[i].Keys.Bearer; p.Providers[i].Name == provider && b != nil && b.ServiceAccount != nil {
			return fmt.Errorf("the keys of the provider %q are fetched with the pod's service account: get them with kubectl get --raw /openid/v1/jwks "+
				"or as their owner says, and add --jwks FILE", provider)
		}
	}
	return nil
}

// addCredential adds the token to the request.
func (o *explainOptions) addCredential(ctx context.Context, s *simulation.Simulation, token, issuer string) error {
	var name, value string
	var err error
	switch {
	case token != "":
		name, value, err = s.Existing(ctx, token, o.ownKeys, o.request)
		if errors.Is(err, simulation.ErrOwnKeys) {
			err = fmt.Errorf("%w: add --jwks FILE with the set at /.well-known/jwks.json of the app, or use --provider %s --claims", err, compiled.OwnProvider)
		}
		name, value = o.withScheme(name, value, issuer)
	case o.claims != "":
		var claims map[string]any
		if err := json.Unmarshal([]byte(o.claims), &claims); err != nil || claims == nil {
			return errors.New(`--claims is not a JSON object like '{"sub": "ada"}'`)
		}
		name, value, err = s.Credential(ctx, simulation.Claimed{Provider: o.provider, Claims: claims}, o.request)
		if errors.Is(err, simulation.ErrCertificate) {
			err = fmt.Errorf("%w: write --client-certificate uri=spiffe://example.org/web in place of --claims and --provider", err)
		}
	default:
		return nil
	}
	if err == nil {
		o.request.Header.Add(name, value)
	}
	return err
}

// hints say what was missing on this machine, if the request was refused for it.
func (o *explainOptions) hints(p *compiled.Policy, verified string, s *simulation.Simulation, r *simulation.Result) (lines []string) {
	if v := r.Verdict(); v.Status != http.StatusServiceUnavailable && !o.certificateRefused(v) {
		return nil
	}
	for _, file := range s.Missing() {
		lines = append(lines, missingFile(o.secrets, file))
	}
	for i := range p.Providers {
		if provider := &p.Providers[i]; provider.Name == verified && provider.Keys.URI != "" {
			lines = append(lines, fmt.Sprintf("missing here: the keys of the provider %q, which could not be fetched from its jwks.uri; add them with --jwks FILE", verified))
		}
	}
	return lines
}

func missingFile(secrets, file string) string {
	return fmt.Sprintf("missing here: the file %s (--secrets-dir)", filepath.Join(secrets, file))
}
