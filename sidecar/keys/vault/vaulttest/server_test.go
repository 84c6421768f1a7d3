package vaulttest

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"testing"
)

// TestEngines: the server has every engine that tests and the demo mount.
func TestEngines(t *testing.T) {
	s, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	for _, engine := range []string{"kv", "transit", "pki", "database"} {
		s.Write(t, "sys/mounts/other-"+engine, map[string]any{"type": engine})
	}
	s.Write(t, "other-pki/root/generate/internal", map[string]any{"common_name": "root", "key_type": "ec", "ttl": "1h"})
	s.Write(t, "other-pki/roles/pod", map[string]any{"allowed_domains": "example.com", "allow_subdomains": true, "key_type": "ec", "max_ttl": "30m"})
	issued := s.Write(t, "other-pki/issue/pod", map[string]any{"common_name": "web.example.com"})
	text, _ := issued.Data["certificate"].(string)
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatalf("the certificate is not PEM: %.40q", text)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := certificate.PublicKey.(*ecdsa.PublicKey); !ok || certificate.VerifyHostname("web.example.com") != nil {
		t.Errorf("the certificate is for %v with a key of %T", certificate.DNSNames, certificate.PublicKey)
	}
}
