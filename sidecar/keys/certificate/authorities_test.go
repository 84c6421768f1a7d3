package certificate

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/test/servertest"
)

func TestParseAuthorities(t *testing.T) {
	a, b := newAuthority(t), newAuthority(t)
	leaf, key := issue(t, a, nil)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	tests := map[string]struct {
		data    []byte
		wantLen int
		wantErr string
	}{
		"one":                {data: a.Certificate, wantLen: 1},
		"two":                {data: join(a.Certificate, b.Certificate), wantLen: 2},
		"with text":          {data: join([]byte("# clients\n"), a.Certificate, []byte("\n# end\n")), wantLen: 1},
		"none":               {wantErr: "there is no certificate"},
		"no PEM":             {data: []byte("x"), wantErr: "there is no certificate"},
		"not of a CA":        {data: join(a.Certificate, leaf), wantErr: "not that of a CA"},
		"a key":              {data: join(a.Certificate, key), wantErr: "PRIVATE KEY"},
		"a truncated block":  {data: join(a.Certificate, b.Certificate[:100]), wantErr: "malformed"},
		"a block of garbage": {data: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), wantErr: "x509"},
		"too many":           {data: bytes.Repeat(a.Certificate, maxAuthorities+1), wantErr: "more than 256"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := ParseAuthorities(tt.data)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("%v; want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil || got.Len() != tt.wantLen {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

func TestLists(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	chain := func(serial int64) []*x509.Certificate {
		leaf, _ := issue(t, a, func(c *x509.Certificate) { c.SerialNumber = big.NewInt(serial) })
		return []*x509.Certificate{first(t, leaf), first(t, a.Certificate)}
	}
	next := time.Now().Add(time.Hour)
	revoke := func(serials ...*big.Int) []byte {
		b, err := a.Revoke(next, serials...)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	foreign, err := other.Revoke(next, big.NewInt(1))
	if err != nil {
		t.Fatal(err)
	}
	cas, err := ParseAuthorities(a.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	l, err := ParseLists(revoke(big.NewInt(2), big.NewInt(3)), cas)
	if err != nil || l.Len() != 2 {
		t.Fatalf("%v, %v", l, err)
	}
	for serial, want := range map[int64]error{1: nil, 2: ErrRevoked, 3: ErrRevoked, 4: nil} {
		if err := l.Check(chain(serial)); !errors.Is(err, want) {
			t.Errorf("%d: %v; want %v", serial, err, want)
		}
	}
	if at, outdated := l.Outdated(time.Now()); outdated || at.Sub(next).Abs() > time.Second {
		t.Errorf("outdated: %t at %s", outdated, at)
	}
	if _, outdated := l.Outdated(next.Add(time.Minute)); !outdated {
		t.Error("it is not outdated after its next update")
	}
	stranger, err := servertest.NewNamedAuthority("stranger")
	if err != nil {
		t.Fatal(err)
	}
	unknown, err := stranger.Revoke(next, big.NewInt(1))
	if err != nil {
		t.Fatal(err)
	}
	if l, err := ParseLists(append(revoke(), unknown...), cas); err != nil || l.Len() != 1 {
		t.Errorf("with the list of an intermediate CA: %v, %v", l, err)
	}
	for name, data := range map[string][]byte{
		"of another CA": unknown, "forged": foreign, "one of two is forged": append(revoke(), foreign...),
		"empty": nil, "a certificate": a.Certificate, "garbage": pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: []byte("x")}), "too many": bytes.Repeat(revoke(), maxLists+1),
	} {
		if _, err := ParseLists(data, cas); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func first(t testing.TB, text []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(text)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// FuzzParse: no file crashes a parser, and what is accepted can be used.
func FuzzParse(f *testing.F) {
	a := newAuthority(f)
	chain, key := issue(f, a, nil)
	list, err := a.Revoke(time.Now(), big.NewInt(1))
	if err != nil {
		f.Fatal(err)
	}
	leaf := first(f, chain)
	cas, err := ParseAuthorities(a.Certificate)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{append(append([]byte(nil), chain...), key...), a.Certificate, list, nil} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := Parse(data, data); err == nil && (c.Leaf == nil || c.Len() == 0 || c.TicketSeed().IsZero()) {
			t.Error("a certificate without a leaf is accepted")
		}
		if as, err := ParseAuthorities(data); err == nil && as.Len() == 0 {
			t.Error("an empty bundle is accepted")
		}
		if l, err := ParseLists(data, cas); err == nil {
			_ = l.Check([]*x509.Certificate{leaf, first(t, a.Certificate)})
		}
	})
}
