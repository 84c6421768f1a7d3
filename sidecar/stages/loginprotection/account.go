package loginprotection

import (
	"net/http"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/posterndev/postern/sidecar/httpkit/clientnet"
	"github.com/posterndev/postern/sidecar/httpkit/reqbody"
)

// Bounds of a request's body on these routes, and of an account's name in bytes.
const (
	maxBody    = 64 << 10
	maxDepth   = 16
	maxFields  = 256
	maxAccount = 1024
)

// name returns the account that the request names; "" for none. The error is the refusal of a body that apps could read in several ways.
func (a *Account) name(r *http.Request) (string, error) {
	switch {
	case a.Basic:
		user, _, _ := r.BasicAuth()
		return user, nil
	case a.Header != "":
		return r.Header.Get(a.Header), nil
	}
	body, err := reqbody.Read(r, reqbody.Limits{Bytes: maxBody, Depth: maxDepth, Fields: maxFields})
	if err != nil {
		return "", err
	}
	value, _, err := body.Field(a.Body)
	return value, err
}

// Canonical returns the form of an account's name under which attempts are counted: without white space around it, in Unicode NFKC, and
// case-folded, so that no spelling gives further guesses. Apps may tell apart what this form does not; then two accounts share a count.
// Plus-addresses are left as they are: providers differ about them. A name that is too long is shortened.
func Canonical(name string) string {
	if len(name) > maxAccount {
		name = name[:maxAccount]
	}
	name = strings.ToValidUTF8(name, string(utf8.RuneError))
	// Folding can give characters that NFKC changes, and the other way round: twice is stable (Unicode §3.13, D146).
	folded := norm.NFKC.String(strings.TrimSpace(name))
	folded = norm.NFKC.String(cases.Fold().String(norm.NFD.String(folded)))
	return strings.TrimSpace(norm.NFKC.String(cases.Fold().String(folded)))
}

// network returns the text of the network that counts as one client.
func network(a netip.Addr) string { return clientnet.Of(a).String() }
