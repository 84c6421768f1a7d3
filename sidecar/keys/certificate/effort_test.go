package certificate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/test/servertest"
)

// tangle returns a client's certificate with n certificates of one subject, each of which is an issuer of all others.
func tangle(t *testing.T, n int) []*x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var sent []*x509.Certificate
	for i := range n + 1 {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: "tangle"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			DNSNames: []string{fmt.Sprintf("%d.example.com", i)}, IsCA: i > 0, BasicConstraintsValid: true,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, c)
	}
	return sent
}

// TestEffort: a client that is not known cannot make the sidecar verify many signatures. Package x509 gives up after a hundred, and says so.
func TestEffort(t *testing.T) {
	a, err := servertest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	authorities, err := ParseAuthorities(a.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	c := &Clients{}
	for name, n := range map[string]int{"as many as allowed": maxSent - 1, "one more": maxSent, "many": 40} {
		sent := tangle(t, n)
		v := c.judge(sent, Trust{authorities: authorities})
		if v.err == nil || errors.Is(v.err, ErrTooMany) != (n >= maxSent) || strings.Contains(v.err.Error(), "limit reached") {
			t.Errorf("%s: %v", name, v.err)
		}
		if pool, err := intermediatesOf(sent[:min(len(sent), maxSent)]); err != nil || !pool.Equal(poolOf(sent[1])) {
			t.Errorf("%s: %v, more than one intermediate of a subject", name, err)
		}
	}
}

func poolOf(c *x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c)
	return pool
}
