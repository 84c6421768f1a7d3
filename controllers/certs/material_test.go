package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"maps"
	"testing"
	"time"
)

var (
	names = []string{"postern-operator.postern-system.svc"}
	start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

func first(t *testing.T) map[string][]byte {
	t.Helper()
	data, changed, err := renew(nil, names, start)
	if err != nil || !changed {
		t.Fatalf("changed %t, error %v", changed, err)
	}
	return data
}

// trusts reports whether a client with these CAs trusts the serving certificate in data.
func trusts(t *testing.T, ca []byte, data map[string][]byte, now time.Time) bool {
	t.Helper()
	pair, err := tls.X509KeyPair(data[keyServing], data[keyServingKey])
	if err != nil {
		t.Fatal(err)
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	for _, der := range pair.Certificate[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		between.AddCert(c)
	}
	_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: names[0], CurrentTime: now})
	return err == nil
}

func TestRenew(t *testing.T) {
	tests := map[string]struct {
		edit        func(map[string][]byte)
		names       []string
		now         time.Time
		wantChanged bool
		wantSameCA  bool // the first CA of the bundle
		wantOldCA   bool // a client that knows only the old CA still trusts the certificate
	}{
		"nothing to do":                    {now: start.Add(time.Hour), wantSameCA: true, wantOldCA: true},
		"serving certificate expires soon": {now: start.Add(servingLife - renewServing), wantChanged: true, wantSameCA: true, wantOldCA: true},
		"another name":                     {names: []string{names[0], "other"}, now: start, wantChanged: true, wantSameCA: true, wantOldCA: true},
		"no serving certificate":           {edit: func(d map[string][]byte) { delete(d, keyServing) }, now: start, wantChanged: true, wantSameCA: true, wantOldCA: true},
		"serving key does not match": {
			edit: func(d map[string][]byte) { d[keyServingKey] = d[keyCAKey] }, now: start, wantChanged: true, wantSameCA: true, wantOldCA: true,
		},
		"CA expires soon": {now: start.Add(caLife - caMargin), wantChanged: true, wantOldCA: true},
		"CA expired":      {now: start.Add(caLife), wantChanged: true},
		"no CA key":       {edit: func(d map[string][]byte) { delete(d, keyCAKey) }, now: start, wantChanged: true},
		"CA is not PEM":   {edit: func(d map[string][]byte) { d[keyCA] = []byte("x") }, now: start, wantChanged: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			old := first(t)
			in := maps.Clone(old)
			if tt.edit != nil {
				tt.edit(in)
			}
			if tt.names == nil {
				tt.names = names
			}
			got, changed, err := renew(in, tt.names, tt.now)
			if err != nil || changed != tt.wantChanged {
				t.Fatalf("changed %t, error %v", changed, err)
			}
			if same := bytes.HasPrefix(got[keyCA], old[keyCA]); same != tt.wantSameCA {
				t.Errorf("the CA is the same: %t", same)
			}
			if !trusts(t, got[keyCA], got, tt.now) {
				t.Error("a client of the new CA does not trust the certificate")
			}
			if b := trusts(t, old[keyCA], got, tt.now); b != tt.wantOldCA {
				t.Errorf("a client of the old CA trusts the certificate: %t", b)
			}
			if _, again, err := renew(got, tt.names, tt.now); again || err != nil {
				t.Errorf("renewed twice: %t, %v", again, err)
			}
		})
	}
}

// TestBridgeOutlastsServing checks that later serving certificates of the new CA also have the bridge.
func TestBridgeOutlastsServing(t *testing.T) {
	old := first(t)
	now := start.Add(caLife - caMargin)
	bridged, _, err := renew(old, names, now)
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(servingLife)
	later, changed, err := renew(bridged, names, now)
	if err != nil || !changed || !trusts(t, old[keyCA], later, now) {
		t.Errorf("changed %t, error %v, or a client of the old CA does not trust the certificate", changed, err)
	}
}
