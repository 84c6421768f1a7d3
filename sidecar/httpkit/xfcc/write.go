package xfcc

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"net/url"
	"strings"
)

// Detail is what an element says about a certificate.
type Detail string

// The details: the SHA-256 of the certificate, the certificate, the certificate with those that the client sent after it, its distinguished name (RFC
// 4514), its URIs and its DNS names.
const (
	Hash    Detail = "Hash"
	Cert    Detail = "Cert"
	Chain   Detail = "Chain"
	Subject Detail = "Subject"
	URI     Detail = "URI"
	DNS     Detail = "DNS"
)

// Details returns all details.
func Details() []Detail { return []Detail{Hash, Cert, Chain, Subject, URI, DNS} }

// Element returns the element for a certificate, with details in their order. sent are the certificates of the client, its own first. A name that no header
// field can hold is left out.
func Element(sent []*x509.Certificate, details []Detail) string {
	var pairs []string
	add := func(key, value string) {
		if value != "" && printable(value) {
			pairs = append(pairs, key+"="+value)
		}
	}
	leaf := sent[0]
	for _, d := range details {
		switch d {
		case Hash:
			sum := sha256.Sum256(leaf.Raw)
			add("Hash", hex.EncodeToString(sum[:]))
		case Cert:
			add("Cert", encode(sent[:1]))
		case Chain:
			add("Chain", encode(sent))
		case Subject:
			add("Subject", quote(leaf.Subject.String()))
		case URI:
			for _, u := range leaf.URIs {
				add("URI", quoteIfNeeded(u.String()))
			}
		case DNS:
			for _, name := range leaf.DNSNames {
				add("DNS", quoteIfNeeded(name))
			}
		}
	}
	return strings.Join(pairs, ";")
}

// encode returns certificates in URL-encoded PEM, in quotes, as Envoy writes it.
func encode(certificates []*x509.Certificate) string {
	var b strings.Builder
	for _, c := range certificates {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return `"` + strings.ReplaceAll(url.QueryEscape(b.String()), "+", "%20") + `"`
}

func quoteIfNeeded(s string) string {
	if strings.ContainsAny(s, `,;="\ `) {
		return quote(s)
	}
	return s
}

func quote(s string) string {
	if s == "" {
		return ""
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
