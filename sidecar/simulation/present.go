package simulation

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/posterndev/postern/api/check/keyset"
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/login/session"
)

// ErrOwnKeys means that a token is one that the policy itself issued, and that nothing is there to verify it with.
var ErrOwnKeys = errors.New("the policy itself issued the token, and its public keys are not given")

// Issuer returns the name of the provider that issued the token, or compiled.OwnProvider. It is empty for an unknown issuer, and for what is
// no token. The token is not verified: the chain does that.
func Issuer(p *compiled.Policy, token string) string {
	claims := &jwt.RegisteredClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(token, claims); err != nil {
		return ""
	}
	if p.Tokens != nil && p.Tokens.Issuer == claims.Issuer {
		return compiled.OwnProvider
	}
	for i := range p.Providers {
		if p.Providers[i].Issuer == claims.Issuer {
			return p.Providers[i].Name
		}
	}
	return ""
}

// Algorithm returns the alg of a token, which is not verified; empty for what is no token.
func Algorithm(token string) string {
	head, _, _ := strings.Cut(token, ".")
	var header struct {
		Algorithm string `json:"alg"`
	}
	b, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil || json.Unmarshal(b, &header) != nil {
		return ""
	}
	return header.Algorithm
}

// Existing returns the field in which a client sends a token that exists. A token that the policy itself issued is verified with keys, its
// JSON Web Key Set, and its session is taken to be active; the error is ErrOwnKeys without keys. No error contains a part of the token.
func (s *Simulation) Existing(ctx context.Context, token string, keys []byte, r Request) (name, value string, err error) {
	issuer := Issuer(s.document, token)
	if s.document.Tokens != nil && issuer == compiled.OwnProvider {
		if len(keys) == 0 {
			return "", "", ErrOwnKeys
		}
		if token, err = s.adopt(ctx, token, keys, r); err != nil {
			return "", "", err
		}
		name, value = s.carryOwn(token)
		return name, value, nil
	}
	for i := range s.document.Providers {
		if p := &s.document.Providers[i]; p.Name == issuer || issuer == "" {
			name, value = Carry(p, token)
			return name, value, nil
		}
	}
	return "Authorization", "Bearer " + token, nil
}

// adopt returns the own token with the signature of this run, if its own is valid; otherwise the same token, which the chain refuses.
func (s *Simulation) adopt(ctx context.Context, token string, keys []byte, r Request) (string, error) {
	t := s.document.Tokens
	set, err := keyset.Parse(keys, keyset.Options{Algorithms: []string{t.Algorithm}})
	if err != nil {
		return "", fmt.Errorf("reading the public keys of the policy's own tokens: %w", err)
	}
	claims := jwt.MapClaims{}
	parsed, _, err := jwt.NewParser().ParseUnverified(token, claims)
	if err != nil || !s.valid(set, parsed, token) {
		return token, nil
	}
	if err := s.admit(ctx, claims, r); err != nil {
		return "", err
	}
	run, err := s.login(ctx, runSecret, nil, r) // a subject of its own, to learn the kid of the run
	if err != nil {
		return "", err
	}
	return s.signAgain(parsed.Header, run.header["kid"], token)
}

// valid reports whether a key of the set, which no TokenRevocation names, has signed the token.
func (s *Simulation) valid(set *keyset.Set, parsed *jwt.Token, token string) bool {
	kid, _ := parsed.Header["kid"].(string)
	if slices.ContainsFunc(s.document.RevokedTokens, func(t compiled.RevokedTokens) bool {
		return t.Kind == compiled.RevokedKey && t.Issuer == s.document.Tokens.Issuer && t.Value == kid
	}) {
		return false
	}
	candidates, err := set.Lookup(kid, s.document.Tokens.Algorithm)
	if err != nil {
		return false
	}
	last := strings.LastIndexByte(token, '.')
	return slices.ContainsFunc(candidates, func(k *keyset.Key) bool { return k.Verify(token[:last], parsed.Signature) == nil })
}

// admit begins the session of a token that exists, with its id.
func (s *Simulation) admit(ctx context.Context, claims jwt.MapClaims, r Request) error {
	id, _ := claims["sid"].(string)
	subject, _ := claims["sub"].(string)
	if s.document.Sessions == nil || !session.ValidID(id) || subject == "" {
		return nil // the chain refuses it
	}
	acquirer, err := s.shared.Acquire(s.document)
	if err != nil {
		return err
	}
	defer acquirer.Close()
	limits := session.Limits{
		IdleTimeout: s.document.Sessions.IdleTimeout.Std(), AbsoluteTimeout: s.document.Sessions.AbsoluteTimeout.Std(),
		MaxPerSubject: s.document.Sessions.MaxPerSubject, WhenFull: session.WhenFull(s.document.Sessions.WhenFull),
	}
	_, _, err = acquirer.Sessions().Create(ctx, session.New{
		ID: id, Owner: session.Owner{Subject: subject}, Device: session.NewDevice(r.Header.Get("User-Agent"), r.address()), Limits: limits, Refresh: session.NewRefresh(id),
	})
	if err != nil {
		return fmt.Errorf("beginning session: %w", err)
	}
	return nil
}

// signAgain signs the same claims with the key of the run.
func (s *Simulation) signAgain(header map[string]any, kid any, token string) (string, error) {
	key, err := s.keys.signer(s.document.Tokens.Algorithm)
	if err != nil {
		return "", err
	}
	header["kid"] = kid
	head, err := json.Marshal(header)
	if err != nil {
		return "", fmt.Errorf("encoding header: %w", err)
	}
	input := base64.RawURLEncoding.EncodeToString(head) + "." + strings.Split(token, ".")[1]
	signature, err := jwt.GetSigningMethod(s.document.Tokens.Algorithm).Sign(input, key.private)
	if err != nil {
		return "", fmt.Errorf("signing token: %w", err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}
