// Package check validates policies: path patterns, methods, origins, header fields, rates, claims, URLs, key sets. It is the only
// place that does so. The operator, postern lint and the sidecar all call Document, so that they refuse the same documents. The
// package is pure: it does no I/O and imports no Kubernetes code.
//
// Users see the errors of this package after the path of a field, as "FIELD: error". An error says what is wrong and what to
// write instead, with an example.
package check

import (
	"errors"
	"fmt"
	"strings"

	"github.com/posterndev/postern/api/compiled"
)

// Problem is a field with a value that no sidecar can run.
type Problem struct {
	// Field is the path in the SecurityPolicy, for example "spec.rateLimits[0].limit". Fields of the SidecarClass begin with
	// "sidecarClass.".
	Field   string
	Message string
}

func (p Problem) String() string { return p.Field + ": " + p.Message }

// Error joins problems into one error. It returns nil if there are none.
func Error(problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	lines := make([]string, len(problems))
	for i, p := range problems {
		lines[i] = p.String()
	}
	return errors.New(strings.Join(lines, "; "))
}

// Document returns the problems of p, in the order of the document. It does not check anything outside the document, such as
// secrets, servers or the key sets of issuers. It does not check the head of the document either: compiled.Decode does that.
func Document(p *compiled.Policy) []Problem {
	c := &checker{}
	c.sidecar(&p.Sidecar)
	c.requestID(p)
	if p.Deleted {
		return c.problems // the chain of a deleted policy has none of the policy's stages
	}
	c.head(p)
	c.add("spec.upstreamProtocol", oneOf(p.UpstreamProtocol, "", compiled.UpstreamAuto, compiled.UpstreamHTTP1, compiled.UpstreamH2C))
	c.upstreamTLS(p.UpstreamTLS)
	c.tls(p.TLS)
	c.forwardClientCert(p)
	c.paths(p.Paths)
	c.providers(p)
	c.tokens(p)
	c.sessions(p)
	c.revocation(p)
	c.passwords(p.Passwords)
	c.apiKeys(p)
	c.passwordPolicy(p)
	c.authorization(p)
	c.rateLimits(p.RateLimits)
	c.loginProtection(p)
	c.headers(p.Headers)
	c.cors(p.CORS)
	c.compression(p.Compression)
	c.redis(p.Redis)
	c.telemetry(p.Telemetry)
	c.vault(p)
	c.audit(p)
	return c.problems
}

// checker collects problems.
type checker struct{ problems []Problem }

// add adds err as a problem of the field. It ignores nil.
func (c *checker) add(field string, err error) {
	if err != nil {
		c.problems = append(c.problems, Problem{Field: field, Message: err.Error()})
	}
}

func (c *checker) addf(field, format string, args ...any) { c.add(field, fmt.Errorf(format, args...)) }

// at returns the path of an entry of a list.
func at(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }

// oneOf refuses a value that is not among want.
func oneOf[T ~string](got T, want ...T) error {
	for _, w := range want {
		if got == w {
			return nil
		}
	}
	words := make([]string, len(want))
	for i, w := range want {
		words[i] = string(w)
	}
	return fmt.Errorf("%.64q is not a known value; write one of %s", string(got), strings.Join(words, ", "))
}

func (c *checker) mode(field string, m compiled.Mode) {
	c.add(field, oneOf(m, compiled.Enforce, compiled.Shadow))
}

func (c *checker) onFailure(field string, f compiled.FailureMode) {
	c.add(field, oneOf(f, compiled.Deny, compiled.Allow))
}
