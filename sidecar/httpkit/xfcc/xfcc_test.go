package xfcc

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"
)

// newCertificate returns a certificate with names that need quotes.
func newCertificate(t testing.TB, subject string) *x509.Certificate {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	uri, err := url.Parse("spiffe://example.org/ns/shop/sa/orders;a=b,c")
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: subject}, NotAfter: time.Now().Add(time.Hour),
		URIs: []*url.URL{uri}, DNSNames: []string{"orders.shop.svc", "orders"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCertificate(t *testing.T) {
	c := newCertificate(t, "x")
	want := sha256.Sum256(c.Raw)
	hash, cert := "Hash="+hex.EncodeToString(want[:]), Element([]*x509.Certificate{c}, []Detail{Cert})
	other := "Hash=" + strings.Repeat("ab", 32)
	unquoted := "Cert=" + url.PathEscape(strings.Trim(mustUnescape(t, strings.TrimPrefix(cert, "Cert=")), `"`))
	tests := map[string]struct {
		lines  []string
		wantOK bool
		bad    bool
	}{
		"absent":                   {},
		"Envoy's own example":      {lines: []string{`By=http://frontend.lyft.com;` + hash + `;Subject="/C=US/ST=CA/L=San Francisco/OU=Lyft/CN=Test Client";URI=http://testclient.lyft.com`}, wantOK: true},
		"Hash alone":               {lines: []string{hash}, wantOK: true},
		"keys ignore case":         {lines: []string{strings.Replace(hash, "Hash", "hASH", 1)}, wantOK: true},
		"hexadecimal ignores case": {lines: []string{"Hash=" + strings.ToUpper(hex.EncodeToString(want[:]))}, wantOK: true},
		"Cert alone":               {lines: []string{cert}, wantOK: true},
		"Cert without quotes":      {lines: []string{unquoted}, wantOK: true},
		"Hash and Cert":            {lines: []string{hash + ";" + cert}, wantOK: true},
		"an escaped quote":         {lines: []string{`Subject="CN=\"x\",O=a;Hash=b";` + hash}, wantOK: true},
		"a Hash inside a value":    {lines: []string{`Subject="` + hash + `"`}},
		"spaces":                   {lines: []string{`By=a ; ` + hash}, wantOK: true},
		"an empty value":           {lines: []string{`Subject="";` + hash + `;DNS=`}, wantOK: true},
		"names no certificate":     {lines: []string{`By=a;URI=spiffe://example.org/x`}},
		"two certificates":         {lines: []string{other + ";" + cert}, bad: true},
		"two hashes":               {lines: []string{hash + ";" + other}, bad: true},
		"two elements":             {lines: []string{hash + "," + other}, bad: true},
		"the same element twice":   {lines: []string{hash + "," + hash}, bad: true},
		"two lines":                {lines: []string{hash, hash}, bad: true},
		"short Hash":               {lines: []string{hash[:len(hash)-2]}, bad: true},
		"not hexadecimal":          {lines: []string{"Hash=" + strings.Repeat("zz", 32)}, bad: true},
		"Cert is not PEM":          {lines: []string{`Cert="x"`}, bad: true},
		"Cert has two":             {lines: []string{Element([]*x509.Certificate{c, c}, []Detail{Chain})[len("Chain="):]}, bad: true},
		"Cert has broken escapes":  {lines: []string{`Cert="%zz"`}, bad: true},
		"no end of a quote":        {lines: []string{`Subject="x;` + hash}, bad: true},
		"text after a quote":       {lines: []string{`Subject="x"y;` + hash}, bad: true},
		"a quote inside":           {lines: []string{`Subject=x"y";` + hash}, bad: true},
		"no pair":                  {lines: []string{"x"}, bad: true},
		"empty":                    {lines: []string{""}, bad: true},
		"ends in a semicolon":      {lines: []string{hash + ";"}, bad: true},
		"too many pairs":           {lines: []string{strings.Repeat("a=b;", maxPairs) + hash}, bad: true},
		"too large":                {lines: []string{hash + ";By=" + strings.Repeat("a", maxSize)}, bad: true},
	}
	for name, tt := range tests {
		sum, ok, err := Certificate(tt.lines)
		if ok != tt.wantOK || (err != nil) != tt.bad || ok && sum != want {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
	if _, _, err := Certificate([]string{hash + ",By=x"}); !errors.Is(err, ErrSeveral) {
		t.Errorf("several elements: %v", err)
	}
}

func mustUnescape(t *testing.T, s string) string {
	t.Helper()
	s, err := url.PathUnescape(s)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestElement: what is written is read again, whatever names the certificate has.
func TestElement(t *testing.T) {
	for name, subject := range map[string]string{"plain": "x", "quotes": `a"b\c`, "separators": `a=b;Hash=00,c`, "empty": ""} {
		t.Run(name, func(t *testing.T) {
			c := newCertificate(t, subject)
			element := Element([]*x509.Certificate{c}, Details())
			sum, ok, err := Certificate([]string{element})
			if err != nil || !ok || sum != sha256.Sum256(c.Raw) {
				t.Fatalf("%v, %v: %s", ok, err, element)
			}
			pairs, err := parse(element)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string][]string{}
			for _, p := range pairs {
				got[p.key] = append(got[p.key], p.value)
			}
			if subject != "" && (len(got["Subject"]) != 1 || got["Subject"][0] != c.Subject.String()) {
				t.Errorf("Subject %q", got["Subject"])
			}
			if got["URI"][0] != c.URIs[0].String() || len(got["DNS"]) != 2 || len(got["Chain"]) != 1 {
				t.Errorf("URI %q, DNS %q, Chain %d", got["URI"], got["DNS"], len(got["Chain"]))
			}
		})
	}
}

// TestNamesThatNoHeaderCanHold: a name with a line break cannot add a field.
func TestNamesThatNoHeaderCanHold(t *testing.T) {
	c := newCertificate(t, "x\r\nX-Auth-User: root")
	c.DNSNames = []string{"a\nb", "ok"}
	if element := Element([]*x509.Certificate{c}, Details()); strings.ContainsAny(element, "\r\n") || !strings.Contains(element, "DNS=ok") {
		t.Errorf("%q", element)
	}
}

// FuzzCertificate: a certificate is only found in one element, and its hash is what Hash says.
func FuzzCertificate(f *testing.F) {
	c := newCertificate(f, `a"b,c`)
	f.Add(Element([]*x509.Certificate{c}, Details()))
	f.Add(`By=a;Hash=` + strings.Repeat("ab", 32) + `;Subject="x\"y"`)
	f.Fuzz(func(t *testing.T, value string) {
		sum, ok, err := Certificate([]string{value})
		if err != nil && ok {
			t.Fatal("a certificate, and an error")
		}
		if !ok || strings.Contains(strings.ToLower(value), "cert=") {
			return
		}
		if !strings.Contains(strings.ToLower(strings.ReplaceAll(value, `\`, "")), hex.EncodeToString(sum[:])) {
			t.Fatalf("%q names another certificate", value)
		}
	})
}
