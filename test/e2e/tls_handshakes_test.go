//go:build e2e

package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// shown returns the connection's state after a handshake with a pod.
func (s *tlsShop) shown(pod int, settings *tls.Config) (tls.ConnectionState, error) {
	conn, err := tls.Dial("tcp", s.addresses[pod], settings)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	return conn.ConnectionState(), nil
}

// leaf returns the certificate that a pod shows for a server name.
func (s *tlsShop) leaf(pod int, serverName string) *x509.Certificate {
	s.t.Helper()
	state, err := s.shown(pod, s.settings(serverName))
	if err != nil {
		s.t.Fatalf("connecting to %s as %s: %v", s.addresses[pod], serverName, err)
	}
	return state.PeerCertificates[0]
}

// testHandshakes: what is agreed on, and what is refused, with Go's client and with openssl.
func (s *tlsShop) testHandshakes() {
	for name, tt := range map[string]struct {
		change      func(*tls.Config)
		wantVersion uint16
		// wantCurve is 0 for any. wantErr is a part of the error; empty if there is none.
		wantCurve          tls.CurveID
		wantALPN, wantErrs string
	}{
		"by default":       {func(*tls.Config) {}, tls.VersionTLS13, tls.X25519MLKEM768, "", ""},
		"ALPN":             {func(c *tls.Config) { c.NextProtos = []string{"http/1.1", "h2"} }, tls.VersionTLS13, 0, "h2", ""},
		"HTTP/1.1 only":    {func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }, tls.VersionTLS13, 0, "http/1.1", ""},
		"another protocol": {func(c *tls.Config) { c.NextProtos = []string{"smtp"} }, 0, 0, "", "no application protocol"},
		"TLS 1.2":          {func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, tls.VersionTLS12, 0, "", ""},
		"TLS 1.1":          {func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, 0, 0, "", "protocol version"},
		"P-384 only":       {func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP384} }, tls.VersionTLS13, tls.CurveP384, "", ""},
	} {
		s.t.Run(name, func(t *testing.T) {
			settings := s.settings(publicName)
			tt.change(settings)
			state, err := s.shown(0, settings)
			if tt.wantErrs != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErrs) {
					t.Errorf("%v; want %q", err, tt.wantErrs)
				}
				return
			}
			if err != nil || state.Version != tt.wantVersion || tt.wantCurve != 0 && state.CurveID != tt.wantCurve || state.NegotiatedProtocol != tt.wantALPN {
				t.Errorf("%v: %s, %s, %q", err, tls.VersionName(state.Version), state.CurveID, state.NegotiatedProtocol)
			}
		})
	}
	s.t.Run("openssl", func(t *testing.T) { s.of(t).testOpenSSL() })
}

// testOpenSSL: openssl, told to accept whatever it knows, agrees on what is strong only.
func (s *tlsShop) testOpenSSL() {
	const refused = "Cipher is (NONE)"
	for name, tt := range map[string]struct {
		flags []string
		want  []string
	}{
		"by default":               {nil, []string{"TLSv1.3", "Secure Renegotiation IS NOT supported", "Compression: NONE", "Early data was not sent", "Verification: OK"}},
		"TLS 1.2, whatever cipher": {[]string{"-tls1_2", "-cipher", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"}, []string{"TLSv1.2", "ECDHE-ECDSA-", "Verification: OK"}},
		"no forward secrecy":       {[]string{"-tls1_2", "-cipher", "kRSA:kPSK:@SECLEVEL=0"}, []string{refused}},
		"DHE":                      {[]string{"-tls1_2", "-cipher", "kDHE:@SECLEVEL=0"}, []string{refused}},
		"CBC and older":            {[]string{"-tls1_2", "-cipher", "kECDHE:!AESGCM:!CHACHA20:@SECLEVEL=0"}, []string{refused}},
		"CCM":                      {[]string{"-tls1_2", "-cipher", "AESCCM:@SECLEVEL=0"}, []string{refused}},
		"not authenticated":        {[]string{"-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"}, []string{refused}},
		"TLS 1.1":                  {[]string{"-tls1_1", "-cipher", "ALL:@SECLEVEL=0"}, []string{refused, "protocol version"}},
		"TLS 1.0":                  {[]string{"-tls1", "-cipher", "ALL:@SECLEVEL=0"}, []string{refused, "protocol version"}},
		"a finite field":           {[]string{"-groups", "ffdhe2048"}, []string{refused}},
	} {
		args := append([]string{"s_client", "-connect", s.addresses[1], "-servername", publicName, "-CAfile", s.bundle()}, tt.flags...)
		out, _ := exec.Command("openssl", args...).CombinedOutput()
		for _, want := range tt.want {
			if !strings.Contains(string(out), want) {
				s.t.Errorf("%s: %q is not in %s", name, want, out)
			}
		}
	}
}

// testCertificates: each pod has its own certificate of PKI, and both that of the Secret. The client's server name selects it. Condition and metrics say
// when they expire.
func (s *tlsShop) testCertificates() {
	first := s.leaf(0, s.ownName)
	if other := s.leaf(1, s.ownName); other.Equal(first) || !slices.Equal(first.DNSNames, []string{s.ownName}) || first.Issuer.CommonName == "" {
		s.t.Errorf("the certificates of PKI are of %s and %s", first.Subject, other.Subject)
	} else if other.NotAfter.Before(first.NotAfter) {
		first = other
	}
	public := s.leaf(0, publicName)
	if !s.leaf(1, publicName).Equal(public) {
		s.t.Error("the pods show different certificates of the Secret")
	}
	unknown := s.settings("unknown.example.com")
	unknown.InsecureSkipVerify = true //nolint:gosec // no certificate has this name
	if state, err := s.shown(0, unknown); err != nil || !slices.Equal(state.PeerCertificates[0].DNSNames, []string{s.ownName}) {
		s.t.Errorf("for an unknown name: %v: %v", err, state.PeerCertificates)
	}
	until := first.NotAfter.UTC().Format("2006-01-02T15:04:05Z")
	s.hasCondition("orders", "CertificateReady", "True", "Ready", "2 sidecars are able", "the first expires at "+until)
	if out, err := kubectl("describe", "securitypolicy", "orders", "-n", s.name); err != nil || !strings.Contains(out, until) {
		s.t.Errorf("kubectl describe: %v: %s", err, out)
	}
	if got := s.metric(0, `postern_tls_certificate_not_after_seconds{certificate="secret/`+publicTLS+`"}`); int64(got) != public.NotAfter.Unix() {
		s.t.Errorf("the expiry of the Secret's certificate is %v; want %d", got, public.NotAfter.Unix())
	}
}

// metric returns the value of a series of a pod.
func (s *tlsShop) metric(pod int, series string) float64 {
	s.t.Helper()
	host, _, _ := strings.Cut(s.addresses[pod], ":")
	for line := range strings.Lines(get(s.t, "http://"+host+":15991/metrics").body) {
		if text, ok := strings.CutPrefix(line, series+" "); ok {
			value, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				s.t.Fatal(err)
			}
			return value
		}
	}
	s.t.Fatalf("pod %s has no series %s", s.names[pod], series)
	return 0
}
