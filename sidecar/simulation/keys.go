package simulation

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/posterndev/postern/api/compiled"
)

// keyID is the kid of the keys that are made for a run, and runSecret the Secret that holds those that are no JWK.
const (
	keyID     = "postern-simulation"
	runSecret = "postern-simulation"
)

// lifetime is that of a token without exp.
const lifetime = 5 * time.Minute

// Keys make tokens that the chain verifies like any other. They are made for a run, and stand in for the keys of the providers. Their
// private keys never leave the process.
type Keys struct {
	byAlgorithm map[string]signer
}

type signer struct {
	private any
	public  map[string]string // a JWK; nil for a symmetric key
}

// NewKeys returns Keys. Each is made when it is first needed. They are not safe for concurrent use.
func NewKeys() *Keys { return &Keys{map[string]signer{}} }

// replace adds the keys of the run to the providers of p, except c.Verify. Keys that cannot be read without another service are replaced. The tokens of the run
// stand for tokens of clients that have proved to have their keys, so no proofs are asked for.
func (k *Keys) replace(p *compiled.Policy, c Config, secrets string) error {
	for i := range p.Providers {
		if p.Providers[i].Name == c.Verify {
			continue
		}
		if err := k.add(&p.Providers[i], secrets); err != nil {
			return fmt.Errorf("provider %q: %w", p.Providers[i].Name, err)
		}
		if !c.Existing {
			p.Providers[i].ProofOfPossession = &compiled.ProofOfPossession{Mode: compiled.ProofNone}
		}
	}
	return nil
}

// replaceOwn replaces the key that signs the policy's own tokens.
func (k *Keys) replaceOwn(p *compiled.Policy, secrets string) error {
	if p.Tokens == nil {
		return nil
	}
	key, err := k.signer(p.Tokens.Algorithm)
	if err != nil {
		return fmt.Errorf("tokens.algorithm: %w", err)
	}
	p.Tokens.SigningKey, p.Tokens.RotationInterval = compiled.SigningKey{Secret: &compiled.SecretRef{Name: runSecret, Key: "own"}}, 0
	content, ok := key.private.([]byte)
	if !ok {
		der, err := x509.MarshalPKCS8PrivateKey(key.private)
		if err != nil {
			return fmt.Errorf("encoding key: %w", err)
		}
		content = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	return writeSecret(secrets, "own", content)
}

func writeSecret(dir, key string, content []byte) error {
	dir = filepath.Join(dir, runSecret)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("writing key: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, key), content, 0o600); err != nil {
		return fmt.Errorf("writing key: %w", err)
	}
	return nil
}

func (k *Keys) add(p *compiled.Provider, secrets string) error {
	if len(p.Algorithms) == 0 {
		return fmt.Errorf("it has no algorithms")
	}
	key, err := k.signer(p.Algorithms[0])
	if err != nil {
		return err
	}
	if key.public == nil {
		p.Keys = compiled.Keys{Secret: &compiled.SecretRef{Name: runSecret, Key: p.Name}}
		secret := base64.RawURLEncoding.EncodeToString(key.private.([]byte))
		set := fmt.Appendf(nil, `{"keys":[{"kty":"oct","kid":%q,"alg":%q,"k":%q}]}`, keyID, p.Algorithms[0], secret)
		return writeSecret(secrets, p.Name, set)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if len(p.Keys.Inline) > 0 {
		if err := json.Unmarshal(p.Keys.Inline, &set); err != nil {
			return fmt.Errorf("reading inline keys: %w", err)
		}
	}
	own, err := json.Marshal(key.public)
	if err != nil {
		return err
	}
	set.Keys = append(set.Keys, own)
	inline, err := json.Marshal(set)
	p.Keys = compiled.Keys{Inline: inline}
	return err
}

func (k *Keys) signer(algorithm string) (signer, error) {
	if s, ok := k.byAlgorithm[algorithm]; ok {
		return s, nil
	}
	s, err := newSigner(algorithm)
	if err != nil {
		return signer{}, fmt.Errorf("making key for %s: %w", algorithm, err)
	}
	k.byAlgorithm[algorithm] = s
	return s, nil
}

func newSigner(algorithm string) (signer, error) {
	b64 := base64.RawURLEncoding.EncodeToString
	jwk := map[string]string{"kid": keyID, "alg": algorithm, "use": "sig"}
	switch algorithm {
	case "HS256", "HS384", "HS512":
		secret := make([]byte, 64)
		_, _ = rand.Read(secret) // it never fails
		return signer{private: []byte(b64(secret))}, nil
	case "EdDSA":
		public, private, err := ed25519.GenerateKey(rand.Reader)
		jwk["kty"], jwk["crv"], jwk["x"] = "OKP", "Ed25519", b64(public)
		return signer{private, jwk}, err
	case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
		private, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return signer{}, err
		}
		jwk["kty"], jwk["n"], jwk["e"] = "RSA", b64(private.N.Bytes()), b64(big.NewInt(int64(private.E)).Bytes())
		return signer{private, jwk}, nil
	}
	curve, ok := map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}[algorithm]
	if !ok {
		return signer{}, fmt.Errorf("the algorithm is not known")
	}
	private, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		return signer{}, err
	}
	point, err := private.PublicKey.Bytes()
	if err != nil {
		return signer{}, err
	}
	half := len(point) / 2
	jwk["kty"], jwk["crv"], jwk["x"], jwk["y"] = "EC", curve.Params().Name, b64(point[1:1+half]), b64(point[1+half:])
	return signer{private, jwk}, nil
}

// Credential is a token with the claims, as a client of the provider sends it: the name of the field, and its value. An own token is of
// the session with that name, which begins with the first; other tokens need no session.
func (s *Simulation) Credential(ctx context.Context, c Claimed, r Request) (name, value string, err error) {
	if s.own(c.Provider) {
		return s.ownCredential(ctx, c, r)
	}
	p, err := s.provider(c.Provider)
	if err != nil {
		return "", "", err
	}
	if c.Session != "" {
		return "", "", fmt.Errorf("session is for the policy's own tokens; write the claim sid for a token of %q", p.Name)
	}
	token, err := s.keys.sign(p, c.Claims, s.Now())
	if err != nil {
		return "", "", err
	}
	name, value = Carry(p, token)
	return name, value, nil
}

// Claimed describes a token that is made.
type Claimed struct {
	// Provider may be empty if there is one, and is compiled.OwnProvider for a token that the policy itself issues.
	Provider string
	// Claims that are not given are those of a valid token, and nil leaves one out.
	Claims map[string]any
	// Session names one of several sessions of a subject.
	Session string
}

// Carry returns the field in which a client sends a token of p.
func Carry(p *compiled.Provider, token string) (name, value string) {
	for _, from := range p.From {
		switch {
		case from.Header != "":
			return from.Header, from.Prefix + token
		case from.Cookie != "":
			return "Cookie", from.Cookie + "=" + token
		}
	}
	return "Authorization", "Bearer " + token
}

// ErrCertificate means that a token of the provider client-certificates was asked for.
var ErrCertificate = errors.New("the provider " + compiled.ClientCertificatesProvider + " has no tokens: a client certificate identifies its client")

func (s *Simulation) provider(name string) (*compiled.Provider, error) {
	var names []string
	for i := range s.document.Providers {
		p := &s.document.Providers[i]
		if p.Name == name || name == "" && len(s.document.Providers) == 1 {
			return p, nil
		}
		names = append(names, p.Name)
	}
	if s.document.Tokens != nil {
		names = append(names, compiled.OwnProvider)
	}
	switch {
	case name == compiled.ClientCertificatesProvider:
		return nil, ErrCertificate
	case len(names) == 0:
		return nil, errors.New("the policy has no jwt.providers and no tokens, so no token can be made")
	case name == "":
		return nil, fmt.Errorf("the policy has several providers: write provider, one of %s", strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("the policy has no provider %q; it has %s", name, strings.Join(names, ", "))
}

// sign returns a token. Claims that are not given are those of a valid token.
func (k *Keys) sign(p *compiled.Provider, claims map[string]any, now time.Time) (string, error) {
	key, err := k.signer(p.Algorithms[0])
	if err != nil {
		return "", err
	}
	life := lifetime
	if p.MaxLifetime > 0 {
		life = min(life, p.MaxLifetime.Std())
	}
	content := jwt.MapClaims{"iss": p.Issuer, "iat": now.Unix(), "exp": now.Add(life).Unix(), "jti": rand.Text()}
	if len(p.Audiences) > 0 {
		content["aud"] = p.Audiences[0]
	}
	for name, value := range claims {
		if content[name] = value; value == nil {
			delete(content, name) // null: a token without the claim
		}
	}
	token := jwt.NewWithClaims(jwt.GetSigningMethod(p.Algorithms[0]), content)
	token.Header["kid"] = keyID
	if len(p.TokenTypes) > 0 {
		token.Header["typ"] = p.TokenTypes[0]
	}
	signed, err := token.SignedString(key.private)
	if err != nil {
		return "", fmt.Errorf("signing token: %w", err)
	}
	return signed, nil
}
