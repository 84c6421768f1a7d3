package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

func TestRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	if err := run([]string{"-out", dir, "-cluster", "dev", "-node-ip", "10.245.0.2", "-service-ip", "10.96.0.1"}); err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	for _, id := range identities("dev", netip.MustParseAddr("10.245.0.2"), netip.MustParseAddr("10.96.0.1")) {
		t.Run(id.file, func(t *testing.T) {
			pair, err := load(dir, id)
			if err != nil {
				t.Fatal(err)
			}
			if pair.Leaf.Subject.CommonName != id.name {
				t.Errorf("got name %q, want %q", pair.Leaf.Subject.CommonName, id.name)
			}
			options := x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
			if _, err := pair.Leaf.Verify(options); err != nil {
				t.Error(err)
			}
			for _, ip := range id.ips {
				if err := pair.Leaf.VerifyHostname(ip.String()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, error %v; want a file that only its owner reads", f.Name(), info.Mode(), err)
		}
	}
}

// load reads an identity's certificate and key, from its kubeconfig if it has one.
func load(dir string, id identity) (tls.Certificate, error) {
	if !id.kubeconfig {
		return tls.LoadX509KeyPair(filepath.Join(dir, id.file+".crt"), filepath.Join(dir, id.file+".key"))
	}
	content, err := os.ReadFile(filepath.Join(dir, id.file+".kubeconfig"))
	if err != nil {
		return tls.Certificate{}, err
	}
	var config struct {
		Users []struct {
			User struct {
				Certificate []byte `json:"client-certificate-data"`
				Key         []byte `json:"client-key-data"`
			}
		}
	}
	if err := json.Unmarshal(content, &config); err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(config.Users[0].User.Certificate, config.Users[0].User.Key)
}

func TestRunRefuses(t *testing.T) {
	for name, args := range map[string][]string{
		"no addresses":       {"-out", "x", "-cluster", "dev"},
		"no service address": {"-out", "x", "-cluster", "dev", "-node-ip", "10.0.0.1"},
		"no folder":          {"-cluster", "dev", "-node-ip", "10.0.0.1", "-service-ip", "10.0.0.2"},
		"unknown flag":       {"-nope"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := run(args); err == nil {
				t.Error("no error")
			}
		})
	}
}
