package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/pflag"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/simulation"
)

// maxCertificates bounds a file of certificates, in bytes.
const maxCertificates = 64 << 10

// explainedClient is the connection of the request's client, and the scheme of its token.
type explainedClient struct {
	certificate map[string]string
	file        string
	plain       bool
	// dpopToken is a token that was given as --header "Authorization: DPoP …"; empty for none.
	dpopToken string
}

func (c *explainedClient) addFlags(f *pflag.FlagSet) {
	f.StringToStringVar(&c.certificate, "client-certificate", nil, "client certificate that is made for this run, as uri=spiffe://example.org/web,dns=web.example.org,commonName=web")
	f.StringVar(&c.file, "client-certificate-file", "", "file with the client's certificate in PEM, and the intermediate ones that it sends; no key is needed")
	f.BoolVar(&c.plain, "plain", false, "without TLS although the policy serves it (default: with TLS if the policy has spec.tls)")
}

// complete describes the connection in r.
func (c *explainedClient) complete(p *compiled.Policy, r *simulation.Request) (err error) {
	r.Plain = c.plain
	if c.file == "" && len(c.certificate) == 0 {
		return nil
	}
	if p.TLS == nil || p.TLS.ClientCertificates == nil {
		return errors.New("the policy has no tls.clientCertificates, or their mode is None, so clients are not asked for a certificate: leave out the flag. " +
			"What a trusted proxy sends is --header \"X-Forwarded-Client-Cert: …\"")
	}
	if c.file != "" {
		r.Sent, err = readCertificates(c.file)
		return err
	}
	made := &simulation.ClientCertificate{}
	for name, value := range c.certificate {
		switch name {
		case "uri":
			made.URI = value
		case "dns":
			made.DNS = value
		case "commonName":
			made.CommonName = value
		default:
			return fmt.Errorf("--client-certificate has the unknown part %q: its parts are uri, dns and commonName, such as uri=spiffe://example.org/web", name)
		}
	}
	r.Certificate = made
	return nil
}

// readCertificates returns the certificates of a file in PEM, in its order.
func readCertificates(name string) (all []*x509.Certificate, err error) {
	rest, err := readBounded(name, maxCertificates)
	if err != nil {
		return nil, fmt.Errorf("reading --client-certificate-file: %w", err)
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue // a key beside the certificate is not needed
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading --client-certificate-file: certificate %d: %w", len(all)+1, err)
		}
		all = append(all, certificate)
	}
	if len(all) == 0 {
		return nil, errors.New("reading --client-certificate-file: it has no PEM block CERTIFICATE")
	}
	return all, nil
}

// addHeader adds a field to the request. A token with the scheme DPoP exists, and is verified as that of --token.
func (o *explainOptions) addHeader(name, value string) error {
	scheme, token, ok := strings.Cut(value, " ")
	if !ok || !strings.EqualFold(name, "Authorization") || !strings.EqualFold(scheme, "DPoP") {
		o.request.Header.Add(name, value)
		return nil
	}
	if o.client.dpopToken != "" || o.claims != "" || o.token.token != "" || o.token.tokenFile != "" {
		return errors.New("the request has a token already: use one of --token, --token-file, --claims and --header \"Authorization: DPoP …\"")
	}
	o.client.dpopToken = strings.TrimLeft(token, " ")
	return nil
}

// withScheme returns the value of Authorization with the scheme that the client uses for the token: DPoP if it sends a proof, RFC 9449 §7.1.
func (o *explainOptions) withScheme(name, value, issuer string) (string, string) {
	token, bearer := strings.CutPrefix(value, "Bearer ")
	bearer = bearer && name == "Authorization"
	switch {
	case bearer && (o.client.dpopToken != "" || o.request.Header.Get("DPoP") != "" && issuer != compiled.OwnProvider):
		return name, "DPoP " + token
	case o.client.dpopToken != "":
		return "Authorization", "DPoP " + o.client.dpopToken
	}
	return name, value
}

// certificateRefused reports whether the request was refused because of a certificate of --client-certificate-file.
func (o *explainOptions) certificateRefused(v simulation.Verdict) bool {
	return v.Status == http.StatusUnauthorized && v.Code == "client-certificate" && len(o.request.Sent) > 0
}
