package redistest

import (
	"crypto/tls"
	"os"
	"path/filepath"

	"github.com/posterndev/postern/test/servertest"
)

// makeCertificates writes a self-signed server certificate, which is its own authority, and returns the Redis arguments for it.
func (s *Server) makeCertificates(authClients bool) []string {
	s.tb.Helper()
	authority, err := servertest.NewAuthority()
	if err != nil {
		s.tb.Fatal(err)
	}
	s.authority, s.CABundle = authority, authority.Certificate
	s.CAFile = s.write("ca.pem", s.CABundle)
	keyFile := s.write("key.pem", authority.Key)
	asked := "no"
	if authClients {
		asked = "yes"
	}
	return []string{"--tls-cert-file", s.CAFile, "--tls-key-file", keyFile, "--tls-ca-cert-file", s.CAFile, "--tls-auth-clients", asked}
}

// ClientCertificate returns a certificate signed by the server's authority, and its key, as PEM.
func (s *Server) ClientCertificate() (certificate, key []byte) {
	s.tb.Helper()
	certificate, key, err := s.authority.Client()
	if err != nil {
		s.tb.Fatal(err)
	}
	return certificate, key
}

func (s *Server) write(name string, content []byte) string {
	s.tb.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		s.tb.Fatal(err)
	}
	return path
}

func (s *Server) clientTLS() *tls.Config {
	s.tb.Helper()
	config, err := s.authority.ClientTLS()
	if err != nil {
		s.tb.Fatal(err)
	}
	return config
}
