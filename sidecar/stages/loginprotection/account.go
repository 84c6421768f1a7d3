package loginprotection

import (
	"net/http"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/posterndev/postern/sidecar/httpkit/clientnet"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/reqbody"
)

// Bounds of a request's body on these routes, and of an account's name in bytes.
const (
	maxBody    = 64 << 10
	maxDepth   = 16
	maxFields  = 256
	maxAccount = 1024
)

// given is what a request says about its sender.
type given struct {
	// account is as the client wrote it; "" for none.
	account string
	// secrets are the account, and what looks like passwords and tokens in the request. They must not get into a sample.
	secrets []string
	// password is "" if the route does not say where it is, or the request has none.
	password string
}

// read returns what the request says. The error is the refusal of a request in which apps could find another account.
func (a *Account) read(r *http.Request) (given, error) {
	switch {
	case a.Basic:
		return basic(r)
	case a.Header != "":
		values := r.Header.Values(a.Header)
		if len(values) > 1 {
			return given{}, twoWays("The header with the account is repeated.")
		}
		name := strings.Join(values, "")
		return given{account: name, secrets: []string{name}}, nil
	}
	body, err := reqbody.Read(r, reqbody.Limits{Bytes: maxBody, Depth: maxDepth, Fields: maxFields})
	if err != nil {
		return given{}, err
	}
	if err := a.notInQuery(r); err != nil {
		return given{}, err
	}
	value, _, err := body.Field(a.Body)
	return given{account: value, secrets: append(secretsOf(body), value)}, err
}

// notInQuery refuses a query with the parameter of the account: Spring prefers it to the body, and others accept it in place of the body.
func (a *Account) notInQuery(r *http.Request) error {
	for _, name := range []string{a.Body.Form, strings.Join(a.Body.JSON, ".")} {
		if name == "" {
			continue
		}
		if err := reqbody.NotInQuery(r.URL.RawQuery, name); err != nil {
			return err
		}
	}
	return nil
}

// basic reads the user of Basic authentication. A credential that only lenient apps can read is refused; another scheme names no account.
func basic(r *http.Request) (given, error) {
	fields := r.Header.Values("Authorization")
	if len(fields) > 1 {
		return given{}, twoWays("The Authorization header is repeated.")
	}
	user, password, ok := r.BasicAuth()
	if !ok && len(fields) == 1 && strings.HasPrefix(strings.ToLower(strings.TrimSpace(fields[0])), "basic") {
		return given{}, twoWays("The Basic credential is malformed.")
	}
	return given{account: user, secrets: []string{user, password}}, nil
}

func twoWays(detail string) error {
	return &httperr.Error{Status: http.StatusBadRequest, Code: "malformed-request", Detail: detail}
}

// Canonical returns the form of an account's name under which attempts are counted: without white space around it, in Unicode NFKC, and
// case-folded, without characters that cannot be seen, so that no spelling gives further guesses. Apps may tell apart what this form does
// not; then two accounts share a count. Plus-addresses are left as they are: providers differ about them. A name that is too long is
// shortened.
func Canonical(name string) string {
	name = strings.ToValidUTF8(name, string(utf8.RuneError))
	name = strings.TrimSpace(strings.Map(visible, name))
	if len(name) > maxAccount {
		name = strings.ToValidUTF8(name[:maxAccount], "")
	}
	// Folding can give characters that NFKC changes, and the other way round: twice is stable (Unicode §3.13, D146).
	folded := strings.Map(oneCase, norm.NFKC.String(strings.TrimSpace(name)))
	folded = norm.NFKC.String(cases.Fold().String(norm.NFD.String(folded)))
	folded = norm.NFKC.String(strings.Map(oneCase, cases.Fold().String(folded)))
	return strings.TrimSpace(norm.NFKC.String(dotless(folded)))
}

// oneCase maps a character as databases do that compare names by UPPER or LOWER of one character at a time (CVE-2019-19844): the dotless ı
// of Turkish has the upper case I, and its İ the lower case i.
func oneCase(r rune) rune { return unicode.ToLower(unicode.ToUpper(r)) }

// dotless drops the dot above that apps find in the lower case of İ, and databases do not.
func dotless(name string) string {
	const dot = '\u0307'
	after := rune(0)
	return strings.Map(func(r rune) rune {
		if r == dot && after == 'i' {
			return -1
		}
		after = r
		return r
	}, name)
}

// visible drops control characters and those that Unicode's NFKC_Casefold drops (DerivedNormalizationProps.txt). Databases with a Unicode
// collation, such as MySQL, and LDAP servers (RFC 4518 §2.2) ignore them.
func visible(r rune) rune {
	switch {
	case unicode.IsSpace(r):
		return r
	case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point):
		return -1
	}
	return r
}

// network returns the text of the network that counts as one client.
func network(a netip.Addr) string { return clientnet.Of(a).String() }
