package compiled

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// ProofMode says whether tokens must be bound to a key of the client.
type ProofMode string

// Values of ProofMode that Validate accepts.
const (
	ProofNone     ProofMode = "None"
	ProofOptional ProofMode = "Optional"
	ProofRequire  ProofMode = "Require"
)

// Values of ProofOfPossession.Methods that Validate accepts.
const (
	ProofMTLS = "mTLS"
	ProofDPoP = "DPoP"
)

// DefaultProofMaxAge is the maximum age of DPoP proofs of providers without a ProofOfPossession.
const DefaultProofMaxAge = time.Minute

// ProofOfPossession is how clients prove that a token was issued to them. A provider without it checks what its tokens are bound to, if the sidecar can.
type ProofOfPossession struct {
	Mode ProofMode `json:"mode"`
	// Methods is empty in mode None.
	Methods []string `json:"methods,omitempty"`
	// DPoP is nil unless it is among the methods.
	DPoP *DPoP `json:"dpop,omitempty"`
}

// DPoP are the rules for DPoP proofs. Algorithms is empty for all that are known.
type DPoP struct {
	Algorithms []string    `json:"algorithms,omitempty"`
	MaxAge     Duration    `json:"maxAge"`
	OnFailure  FailureMode `json:"onFailure"`
}

// Uses reports whether the proofs of a method are accepted.
func (p *ProofOfPossession) Uses(method string) bool {
	return p != nil && slices.Contains(p.Methods, method)
}

// SeesClientCertificates reports whether the sidecar gets to know the certificates of clients.
func (p *Policy) SeesClientCertificates() bool {
	return p.TLS != nil && p.TLS.ClientCertificates != nil || p.ForwardClientCert != nil && p.ForwardClientCert.FromProxies == XFCCUse
}

// XFCCFromProxies says what happens to X-Forwarded-Client-Cert from trusted proxies.
type XFCCFromProxies string

// Values of XFCCFromProxies that Validate accepts.
const (
	XFCCForward XFCCFromProxies = "Forward"
	XFCCUse     XFCCFromProxies = "Use"
	XFCCRemove  XFCCFromProxies = "Remove"
)

// ForwardClientCert is what happens to X-Forwarded-Client-Cert.
type ForwardClientCert struct {
	FromProxies XFCCFromProxies `json:"fromProxies"`
	// ToApp are the details of the connection's certificate that the app gets.
	ToApp []string `json:"toApp,omitempty"`
}

func (p *ProofOfPossession) validate() error {
	if p == nil {
		return nil
	}
	errs := []error{oneOf("mode", p.Mode, ProofNone, ProofOptional, ProofRequire)}
	if (p.Mode == ProofNone) != (len(p.Methods) == 0) {
		errs = append(errs, errors.New("methods are required, except in mode None"))
	}
	for i, m := range p.Methods {
		errs = append(errs, oneOf(fmt.Sprintf("methods[%d]", i), m, ProofMTLS, ProofDPoP))
	}
	if p.Uses(ProofDPoP) != (p.DPoP != nil) {
		errs = append(errs, errors.New("dpop is required with the method DPoP, and with no other"))
	}
	if d := p.DPoP; d != nil {
		if d.MaxAge <= 0 {
			errs = append(errs, errors.New("dpop.maxAge is not positive"))
		}
		errs = append(errs, oneOf("dpop.onFailure", d.OnFailure, Deny, Allow))
	}
	return wrap(errors.Join(errs...), "proofOfPossession")
}

func (f *ForwardClientCert) validate() error {
	if f == nil {
		return nil
	}
	errs := []error{oneOf("fromProxies", f.FromProxies, XFCCForward, XFCCUse, XFCCRemove)}
	for i, d := range f.ToApp {
		errs = append(errs, oneOf(fmt.Sprintf("toApp[%d]", i), d, "Hash", "Cert", "Chain", "Subject", "URI", "DNS"))
	}
	return errors.Join(errs...)
}
