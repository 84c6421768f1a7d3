package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// tokenAudience is the audience of the tokens that proxies verify.
const tokenAudience = "shop"

// signer signs tokens of the external issuer with one algorithm.
type signer struct {
	algorithm, issuer string
	key               crypto.Signer
	// public is a file with the public key as PEM.
	public string
	issued int
}

// newSigners makes the RS256 and the ES256 key of the issuer: 2048 bits and P-256, which is what most issuers have.
func newSigners(dir, issuer string) (rs, es *signer, err error) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, err
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	rs = &signer{algorithm: "RS256", issuer: issuer, key: rsaKey, public: filepath.Join(dir, "rs256.pem")}
	es = &signer{algorithm: "ES256", issuer: issuer, key: ecKey, public: filepath.Join(dir, "es256.pem")}
	for _, s := range []*signer{rs, es} {
		der, err := x509.MarshalPKIXPublicKey(s.key.Public())
		if err != nil {
			return nil, nil, err
		}
		if err := os.WriteFile(s.public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
			return nil, nil, err
		}
	}
	return rs, es, nil
}

// tokens signs n new tokens, each with its own jti, sid and sub.
func (s *signer) tokens(n int) ([]string, error) {
	out, first, now := make([]string, n), s.issued, time.Now()
	s.issued += n
	err := each(context.Background(), runtime.NumCPU(), n, func(_ context.Context, i int) (err error) {
		id := fmt.Sprintf("%s-%d", s.algorithm, first+i)
		token := jwt.NewWithClaims(jwt.GetSigningMethod(s.algorithm), jwt.MapClaims{
			"iss": s.issuer, "aud": tokenAudience, "sub": "user-" + id, "jti": "token-" + id, "sid": "session-" + id,
			"iat": now.Unix(), "exp": now.Add(4 * time.Hour).Unix(),
		})
		token.Header["kid"] = s.algorithm
		out[i], err = token.SignedString(s.key)
		return err
	})
	return out, err
}

// jwks returns a JSON Web Key Set with the public keys, RFC 7517.
func jwks(signers ...*signer) (string, error) {
	var keys []map[string]string
	encode := func(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
	for _, s := range signers {
		key := map[string]string{"kid": s.algorithm, "alg": s.algorithm, "use": "sig"}
		switch public := s.key.Public().(type) {
		case *rsa.PublicKey:
			key["kty"], key["n"], key["e"] = "RSA", encode(public.N.Bytes()), encode(big.NewInt(int64(public.E)).Bytes())
		case *ecdsa.PublicKey:
			point, err := public.Bytes()
			if err != nil {
				return "", err
			}
			key["kty"], key["crv"], key["x"], key["y"] = "EC", "P-256", encode(point[1:33]), encode(point[33:])
		}
		keys = append(keys, key)
	}
	out, err := json.Marshal(map[string]any{"keys": keys})
	return string(out), err
}
