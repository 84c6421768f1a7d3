package secure

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/keys/certificate"
)

// TestOffers: what a client of crypto/tls offers, and what it gets.
func TestOffers(t *testing.T) {
	tests := map[string]struct {
		min    uint16
		change func(*tls.Config)
		want   string
		// wantReason is why it is refused; empty if it is not.
		wantReason Reason
	}{
		"anything":         {want: `TLS 1.3 "" false`},
		"HTTP/2":           {change: func(c *tls.Config) { c.NextProtos = []string{"http/1.1", "h2"} }, want: `TLS 1.3 "h2" false`},
		"HTTP/1.1":         {change: func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }, want: `TLS 1.3 "http/1.1" false`},
		"another protocol": {change: func(c *tls.Config) { c.NextProtos = []string{"imap"} }, wantReason: Protocol},
		"TLS 1.2":          {change: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, want: `TLS 1.2 "" false`},
		"TLS 1.1":          {change: func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, wantReason: Version},
		"TLS 1.0":          {change: func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS10 }, wantReason: Version},
		"TLS 1.2 of 1.3":   {min: tls.VersionTLS13, change: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, wantReason: Version},
		"TLS 1.3 of 1.3":   {min: tls.VersionTLS13, want: `TLS 1.3 "" false`},
		"RSA key exchange": {change: func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}
		}, wantReason: Cipher},
		"CBC": {change: func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
		}, wantReason: Cipher},
		"post-quantum":    {change: func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768} }, want: `TLS 1.3 "" false`},
		"P-256":           {change: func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP256} }, want: `TLS 1.3 "" false`},
		"a wrong CA":      {change: func(c *tls.Config) { c.RootCAs = nil }, wantReason: Alert},
		"no server name":  {change: func(c *tls.Config) { c.InsecureSkipVerify, c.ServerName = true, "" }, want: `TLS 1.3 "" false`},
		"an unknown name": {change: func(c *tls.Config) { c.InsecureSkipVerify, c.ServerName = true, "other.example.com" }, want: `TLS 1.3 "" false`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			e := w.serve(Config{MinVersion: tt.min})
			settings := w.settings()
			if tt.change != nil {
				tt.change(settings)
			}
			got, err := e.hello(t, settings)
			if got != tt.want || (err == nil) != (tt.wantReason == "") {
				t.Fatalf("%q, %v; want %q", got, err, tt.want)
			}
			if tt.wantReason != "" {
				e.refused(t, tt.wantReason, 1)
			}
		})
	}
}

// TestBytes: what is no handshake.
func TestBytes(t *testing.T) {
	tests := map[string]struct {
		sent string
		// stays says that the client keeps the connection open and sends no more.
		stays bool
		want  string
		// wantReason is why it is refused; empty if it is not.
		wantReason Reason
	}{
		"plain HTTP":       {sent: "GET / HTTP/1.1\r\n", want: "plain \"\"\nGET / HTTP/1.1\r\n"},
		"plain HTTP/2":     {sent: "PRI * HTTP/2.0\r\n", want: "plain \"\"\nPRI * HTTP/2.0\r\n"},
		"one byte":         {sent: "G", want: "plain \"\"\nG"},
		"SSL 2":            {sent: "\x80\x2e\x01\x00\x02", want: "plain \"\"\n\x80\x2e\x01\x00\x02"},
		"nothing":          {wantReason: Closed},
		"silence":          {stays: true, wantReason: Timeout},
		"one byte of TLS":  {sent: "\x16", wantReason: Closed},
		"a slow hello":     {sent: "\x16\x03\x01\x00", stays: true, wantReason: Timeout},
		"garbage":          {sent: "\x16garbage that is no record", wantReason: Malformed},
		"an alert first":   {sent: "\x16\x03\x01\x00\x04\x02\x00\x00\x00", wantReason: Malformed},
		"a large hello":    {sent: "\x16\x03\x01\x40\x00\x01\x00\xff\xff" + strings.Repeat("\x00", 16<<10), stays: true, wantReason: Malformed},
		"records of bytes": {sent: "\x16\x03\x01\x00\x04\x01\x00\xff\xff" + strings.Repeat("\x16\x03\x01\x00\x01\x00", 4<<10), stays: true, wantReason: Malformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newWorld(t).serve(Config{})
			if tt.wantReason == Timeout {
				e.time.Store(int64(50 * time.Millisecond))
			}
			conn, err := net.Dial("tcp", e.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(waitLimit))
			if _, err := io.WriteString(conn, tt.sent); err != nil {
				t.Fatal(err)
			}
			if !tt.stays {
				_ = conn.(*net.TCPConn).CloseWrite()
			}
			got, _ := io.ReadAll(conn) // a refused connection is reset, or ends with an alert
			if tt.wantReason != "" {
				e.refused(t, tt.wantReason, 1)
			} else if string(got) != tt.want {
				t.Errorf("%q; want %q", got, tt.want)
			}
		})
	}
}

// TestServerNames: the first certificate is for unknown names, and the others for their own.
func TestServerNames(t *testing.T) {
	w := newWorld(t)
	missing := &held{}
	e := w.serve(Config{Certificates: []certificate.Held{
		missing, &held{c: w.certificate("a.example.com")}, &held{c: w.certificate("b.example.com", "*.c.example.com")},
	}})
	for name, want := range map[string]string{
		"a.example.com": "a.example.com", "b.example.com": "b.example.com", "x.c.example.com": "b.example.com", "x.y.c.example.com": "a.example.com",
		"c.example.com": "a.example.com", "": "a.example.com", "B.EXAMPLE.COM": "b.example.com",
	} {
		conn, err := tls.Dial("tcp", e.addr, &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; got != want {
			t.Errorf("%q got the certificate of %s; want %s", name, got, want)
		}
		conn.Close()
	}
	missing.set(w.certificate("d.example.com"))
	settings := w.settings()
	settings.ServerName = "d.example.com"
	if _, err := e.hello(t, settings); err != nil {
		t.Errorf("a certificate that came later: %v", err)
	}
}

// TestUnavailable: without a certificate handshakes fail, until there is one.
func TestUnavailable(t *testing.T) {
	w := newWorld(t)
	h := &held{}
	e := w.serve(Config{Certificates: []certificate.Held{h}})
	if _, err := e.hello(t, w.settings()); err == nil {
		t.Error("a handshake without a certificate")
	}
	e.refused(t, Unavailable, 1)
	h.set(w.certificate("a.example.com"))
	if _, err := e.hello(t, w.settings()); err != nil {
		t.Error(err)
	}
}

// TestRotation: the next connection gets the new certificate, and one that is open goes on.
func TestRotation(t *testing.T) {
	w := newWorld(t)
	h := &held{c: w.certificate("a.example.com")}
	e := w.serve(Config{Certificates: []certificate.Held{h}})
	before, err := tls.Dial("tcp", e.addr, w.settings())
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	if _, err := line(before); err != nil {
		t.Fatal(err)
	}
	h.set(w.certificate("a.example.com", "new.example.com"))
	settings := w.settings()
	settings.ServerName = "new.example.com"
	if _, err := e.hello(t, settings); err != nil {
		t.Errorf("with the new certificate: %v", err)
	}
	if _, err := io.WriteString(before, "still here\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := line(before); got != "still here" {
		t.Errorf("the open connection: %q, %v", got, err)
	}
}

// TestOpenSSL: what testssl.sh checks, with the client of OpenSSL.
func TestOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("this test needs openssl")
	}
	w := newWorld(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, w.authority.Certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	e := w.serve(Config{})
	strict := w.serve(Config{MinVersion: tls.VersionTLS13})
	tests := map[string]struct {
		args   []string
		strict bool
		// want are parts of the output of an accepted handshake. refused says that there is none.
		want    []string
		refused bool
	}{
		"TLS 1.3":                 {args: []string{"-tls1_3"}, want: []string{"TLSv1.3", "Verify return code: 0 (ok)"}},
		"TLS 1.2":                 {args: []string{"-tls1_2"}, want: []string{"TLSv1.2", "ECDHE-ECDSA", "Verify return code: 0 (ok)", "Secure Renegotiation IS supported"}},
		"TLS 1.2 where 1.3 is":    {args: []string{"-tls1_2"}, strict: true, refused: true},
		"TLS 1.1":                 {args: []string{"-tls1_1", "-cipher", "ALL:@SECLEVEL=0"}, refused: true},
		"TLS 1.0":                 {args: []string{"-tls1", "-cipher", "ALL:@SECLEVEL=0"}, refused: true},
		"ALPN h2":                 {args: []string{"-alpn", "h2,http/1.1"}, want: []string{"ALPN protocol: h2"}},
		"ALPN http/1.1":           {args: []string{"-alpn", "http/1.1"}, want: []string{"ALPN protocol: http/1.1"}},
		"ALPN of another":         {args: []string{"-alpn", "smtp"}, refused: true},
		"no forward secrecy":      {args: []string{"-tls1_2", "-cipher", "kRSA"}, refused: true},
		"finite-field DH":         {args: []string{"-tls1_2", "-cipher", "kDHE"}, refused: true},
		"CBC":                     {args: []string{"-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES128-SHA"}, refused: true},
		"3DES, RC4, NULL, export": {args: []string{"-tls1_2", "-cipher", "3DES:RC4:NULL:EXPORT:@SECLEVEL=0"}, refused: true},
		"no authentication":       {args: []string{"-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"}, refused: true},
		"ChaCha20":                {args: []string{"-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"}, want: []string{"CHACHA20"}},
		"X25519":                  {args: []string{"-groups", "X25519"}, want: []string{"X25519"}},
		"P-384":                   {args: []string{"-groups", "P-384"}, want: []string{"Verify return code: 0 (ok)"}},
		"SHA-1 signatures":        {args: []string{"-tls1_2", "-sigalgs", "ECDSA+SHA1", "-cipher", "ALL:@SECLEVEL=0"}, refused: true},
		"compression":             {args: []string{"-tls1_2", "-comp"}, want: []string{"Compression: NONE"}},
		"extended master secret":  {args: []string{"-tls1_2"}, want: []string{"Extended master secret: yes"}},
		"fallback":                {args: []string{"-tls1_2", "-fallback_scsv"}, refused: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			addr := e.addr
			if tt.strict {
				addr = strict.addr
			}
			args := append([]string{"s_client", "-connect", addr, "-servername", "a.example.com", "-verify_hostname", "a.example.com", "-CAfile", ca}, tt.args...)
			cmd := exec.CommandContext(t.Context(), openssl, args...)
			cmd.Stdin = strings.NewReader("Q\n")
			out, _ := cmd.CombinedOutput()
			alert := bytes.Contains(out, []byte(" alert ")) // the server's; what this OpenSSL cannot offer ends without one
			if agreed := !bytes.Contains(out, []byte("Cipher is (NONE)")); agreed == tt.refused || alert != tt.refused {
				t.Fatalf("agreed: %t, alert: %t\n%s", agreed, alert, out)
			}
			for _, want := range tt.want {
				if !bytes.Contains(out, []byte(want)) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
		})
	}
}
