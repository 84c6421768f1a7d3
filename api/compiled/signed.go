package compiled

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Signed is a document with the operator's signature. ConfigMaps hold it, and the long poll delivers it.
type Signed struct {
	// Document is the encoded policy, exactly as it was signed.
	Document []byte `json:"document"`
	// Signature is Ed25519 (RFC 8032) over signingContext and Document.
	Signature []byte `json:"signature"`
}

// Keys of the ConfigMap that holds a signed document.
const (
	DocumentKey  = "document.json"
	SignatureKey = "signature"
)

// signingContext is signed before the document, so that a signature is not valid for other data.
const signingContext = "postern.dev document v1\n"

// ErrSignature is returned for a document that was not signed with the expected key.
var ErrSignature = errors.New("the document's signature does not match the operator's key")

// Sign encodes p and signs it.
func Sign(p *Policy, key ed25519.PrivateKey) (Signed, error) {
	document, err := Encode(p)
	if err != nil {
		return Signed{}, err
	}
	return Signed{Document: document, Signature: ed25519.Sign(key, message(document))}, nil
}

// Open verifies the signature and decodes the document.
func (s Signed) Open(key ed25519.PublicKey) (*Policy, error) { return s.OpenAs(nil, key) }

// OpenAs verifies the signature and decodes the document as a build with that schema does.
func (s Signed) OpenAs(schema Schema, key ed25519.PublicKey) (*Policy, error) {
	if len(key) != ed25519.PublicKeySize || len(s.Document) > MaxSize {
		return nil, ErrSignature
	}
	if !ed25519.Verify(key, message(s.Document), s.Signature) {
		return nil, ErrSignature
	}
	return schema.Decode(s.Document)
}

// Version returns the document's schema version without verifying the document; 1 if there is none.
func (s Signed) Version() int {
	version, err := versionIn(s.Document)
	if err != nil {
		return 1
	}
	return max(1, version)
}

// Hash returns the document's hash: "sha256:" and its SHA-256 in hexadecimal.
func (s Signed) Hash() string {
	sum := sha256.Sum256(s.Document)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func message(document []byte) []byte { return append([]byte(signingContext), document...) }

// Report is what a sidecar sends to the operator with each poll: the document that it runs, and problems that it found.
type Report struct {
	// Hash is that of the active document; empty if the sidecar has none yet.
	Hash string `json:"hash,omitempty"`
	// SchemaVersion is the newest schema version that the sidecar reads.
	SchemaVersion int `json:"schemaVersion"`
	// Version is that of the sidecar's build.
	Version string `json:"version,omitempty"`
	// Refused is the hash of a newer document that the sidecar could not run. Error says why, without secrets.
	Refused string `json:"refused,omitempty"`
	Error   string `json:"error,omitempty"`
	// Reachable lists the first listeners of the pod that clients can reach around the sidecar, as address:port.
	Reachable []string `json:"reachable,omitempty"`
	// Unredirected says that the rules of Redirect are missing in the pod's network, so that clients reach every port around the sidecar.
	Unredirected bool `json:"unredirected,omitempty"`
	// Problems are the dependencies of the sidecar that are currently missing.
	Problems []Problem `json:"problems,omitempty"`
	// CertificatesExpire is when the first of the sidecar's certificates expires; the zero time if it has none.
	CertificatesExpire time.Time `json:"certificatesExpire,omitzero"`
}

// Problem is a missing dependency of a sidecar.
type Problem struct {
	// Kind is one of the constants Problem*. A problem of kind ProblemKeys has a message that begins with the provider's name and a
	// colon.
	Kind string `json:"kind"`
	// Reason is one word in CamelCase. Message says what to fix, without secrets.
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
}

// Kinds of Problem.
const (
	ProblemVault      = "Vault"
	ProblemRedis      = "Redis"
	ProblemSigningKey = "SigningKey"
	ProblemKeys       = "Keys"
	// ProblemAPIKeys begins the message of a problem of kind ProblemKeys about the files of API keys and users.
	ProblemAPIKeys = "apiKeys"
	// ProblemCertificate: a certificate, a CA or a revocation list of spec.tls is missing or out of date.
	ProblemCertificate = "Certificate"
	// ProblemClientAddress: a proxy in front of the sidecar is not trusted.
	ProblemClientAddress = "ClientAddress"
)

// MaxReportSize bounds an encoded report, in bytes, and maxReportText each text in it.
const (
	MaxReportSize = 8 << 10
	maxReportText = 512
	maxReachable  = 20
	maxProblems   = 12
	// MaxKeyProblems bounds the problems of keys in a report, and MaxCertificateProblems those of certificates, so that others have room.
	MaxKeyProblems         = 4
	MaxCertificateProblems = 4
)

// DecodeReport decodes a report strictly, because it comes from a pod, which may be hostile.
func DecodeReport(b []byte) (Report, error) {
	var r Report
	if len(b) > MaxReportSize {
		return r, fmt.Errorf("decoding report: more than %d bytes", MaxReportSize)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return Report{}, fmt.Errorf("decoding report: %w", err)
	}
	if len(r.Reachable) > maxReachable {
		return Report{}, fmt.Errorf("decoding report: more than %d listeners", maxReachable)
	}
	if len(r.Problems) > maxProblems {
		return Report{}, fmt.Errorf("decoding report: more than %d problems", maxProblems)
	}
	for _, p := range r.Problems {
		if len(p.Kind)+len(p.Reason)+len(p.Message) > maxReportText {
			return Report{}, fmt.Errorf("decoding report: a problem of more than %d bytes", maxReportText)
		}
	}
	for _, text := range append([]string{r.Hash, r.Version, r.Refused, r.Error}, r.Reachable...) {
		if len(text) > maxReportText {
			return Report{}, fmt.Errorf("decoding report: a text of more than %d bytes", maxReportText)
		}
	}
	return r, nil
}
