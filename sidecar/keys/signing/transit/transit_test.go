package transit

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/keys/signing"
	"github.com/posterndev/postern/sidecar/keys/vault"
	"github.com/posterndev/postern/sidecar/keys/vault/vaulttest"
)

func TestTransitSigns(t *testing.T) {
	t.Parallel()
	transit := open(t, "signer")
	tests := map[signing.Algorithm]string{
		signing.ES256: "ecdsa-p256", signing.RS256: "rsa-2048", signing.PS256: "rsa-2048", signing.EdDSA: "ed25519",
	}
	for a, kind := range tests {
		t.Run(string(a), func(t *testing.T) {
			name := unique("key")
			server.Write(t, "transit/keys/"+name, map[string]any{"type": kind})
			if err := transit.Rotator(name).Rotate(t.Context()); err != nil {
				t.Fatal(err)
			}
			versions, err := transit.PublicKeys(t.Context(), name)
			if err != nil || len(versions) != 2 || versions[0].Number != 1 || versions[1].Created.Before(versions[0].Created) {
				t.Fatalf("versions = %+v, %v", versions, err)
			}
			input := []byte("header.payload")
			for _, v := range versions {
				signature, err := transit.Sign(t.Context(), name, v.Number, a, input)
				if err != nil {
					t.Fatal(err)
				}
				if !verifies(a, v.Public, input, signature) {
					t.Errorf("version %d: the signature is not good", v.Number)
				}
			}
			source := signing.TransitKey{Transit: transit, Key: name, Algorithm: a}
			if read, err := source.Versions(t.Context()); err != nil || len(read) != 2 {
				t.Errorf("the signing package reads %d versions, %v", len(read), err)
			}
		})
	}
}

// verifies follows RFC 7518 §3 and RFC 8037.
func verifies(a signing.Algorithm, public crypto.PublicKey, input, signature []byte) bool {
	sum := sha256.Sum256(input)
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		return len(signature) == 64 && ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
	case ed25519.PublicKey:
		return ed25519.Verify(key, input, signature)
	case *rsa.PublicKey:
		if a == signing.PS256 {
			return rsa.VerifyPSS(key, crypto.SHA256, sum[:], signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil
	}
	return false
}

func TestTransitRespectsTheLeastVersion(t *testing.T) {
	t.Parallel()
	transit := open(t, "signer")
	key := unique("key")
	server.Write(t, "transit/keys/"+key, map[string]any{"type": "ecdsa-p256"})
	for range 2 {
		server.Write(t, "transit/keys/"+key+"/rotate", map[string]any{})
	}
	server.Write(t, "transit/keys/"+key+"/config", map[string]any{"min_encryption_version": 2})
	versions, err := transit.PublicKeys(t.Context(), key)
	if err != nil || len(versions) != 2 || versions[0].Number != 2 {
		t.Errorf("versions = %+v, %v", versions, err)
	}
	if _, err := transit.Sign(t.Context(), key, 1, signing.ES256, []byte("x")); err == nil {
		t.Error("a version below the least one signs")
	}
}

func TestTransitRefused(t *testing.T) {
	t.Parallel()
	transit := open(t, "signer")
	symmetric := unique("symmetric")
	server.Write(t, "transit/keys/"+symmetric, map[string]any{"type": "aes256-gcm96"})
	publicKeys := func(key string) error { _, err := transit.PublicKeys(t.Context(), key); return err }
	sign := func(key string, a signing.Algorithm) error {
		_, err := transit.Sign(t.Context(), key, 1, a, []byte("x"))
		return err
	}
	tests := map[string]struct {
		err     error
		wantErr string
	}{
		"no such key":             {publicKeys("absent"), "no key of that name"},
		"symmetric key":           {publicKeys(symmetric), "no public key"},
		"name with a path":        {publicKeys("../../sys/seal"), "not the name of a Transit key"},
		"signing with no key":     {sign("absent", signing.ES256), "refused"},
		"signing without a name":  {sign("", signing.ES256), "not the name of a Transit key"},
		"signing with HS256":      {sign(symmetric, signing.HS256), "does not sign"},
		"rotating without a name": {transit.Rotator("a/b").Rotate(t.Context()), "not the name of a Transit key"},
		"rotating no key":         {transit.Rotator("absent").Rotate(t.Context()), "refused"},
	}
	for name, tt := range tests {
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.wantErr) {
			t.Errorf("%s: error = %v; want one with %q", name, tt.err, tt.wantErr)
		}
	}
	if _, err := New(transit.client, "../sys"); err == nil {
		t.Error("a mount with dot segments is taken")
	}
}

func TestTransitDenied(t *testing.T) {
	t.Parallel()
	transit := open(t, "reader")
	_, err := transit.Sign(t.Context(), "k", 1, signing.ES256, []byte("x"))
	var denied *vault.Error
	if !errors.As(err, &denied) || denied.State != vault.PermissionDenied {
		t.Errorf("error = %v", err)
	}
	vaulttest.Eventually(t, "the state to be permission_denied", func() bool { return transit.client.Status().State == vault.PermissionDenied })
}

func TestParseSignature(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text string
		want string // "" for an error
	}{
		"good":            {"vault:v3:YWJj", "abc"},
		"another version": {"vault:v30:YWJj", ""},
		"standard base64": {"vault:v3:+/+/", ""},
		"padded":          {"vault:v3:YWI=", ""},
		"empty":           {"vault:v3:", ""},
		"too long":        {"vault:v3:" + strings.Repeat("A", 1000), ""},
	}
	for name, tt := range tests {
		got, err := parseSignature(tt.text, 3)
		if string(got) != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}
