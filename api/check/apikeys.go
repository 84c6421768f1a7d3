package check

import (
	"fmt"
	"net/textproto"
	"strings"

	"github.com/posterndev/postern/api/check/fieldset"
	"github.com/posterndev/postern/api/compiled"
)

// apiKeys checks where API keys are read from. Basic authentication and a header cannot share a field.
func (c *checker) apiKeys(p *compiled.Policy) {
	a := p.APIKeys
	if a == nil {
		return
	}
	const field = "spec.apiKeys"
	c.mode(field+".mode", a.Mode)
	if a.Keys == nil && a.Users == nil {
		c.addf(field, "there is no file to verify keys or users with; write keysRef, usersRef or both, for example keysRef: {secretKeyRef: {name: shop-keys, key: keys.yaml}}")
	}
	c.secret(field+".keysRef", a.Keys)
	c.secret(field+".usersRef", a.Users)
	if a.Keys == nil && len(a.From) > 0 {
		c.addf(field+".from", "it says where API keys are, but there is no key file; write keysRef, or remove from, because users of usersRef always use HTTP Basic authentication")
	}
	if a.Keys != nil && len(a.From) == 0 {
		c.addf(field+".from", "it is empty; write where requests have their key, for example [{header: X-API-Key}]")
	}
	identity, seen := fieldset.New(p.IdentityHeaders()...), map[string]bool{}
	for i, l := range a.From {
		at := at(field+".from", i)
		c.apiKeyLocation(at, l)
		name := "query " + l.Query
		if l.Query == "" {
			name = textproto.CanonicalMIMEHeaderKey(l.Header)
		}
		if l.BasicAuth {
			name = "Authorization"
			if a.Users != nil {
				c.addf(at+".basicAuth", "Authorization: Basic is either an API key or a user of usersRef; write another place for the key, for example header: X-API-Key, or remove usersRef")
			}
		}
		if seen[name] {
			c.addf(at, "another entry reads the same place; write each header and query parameter once, and not the Authorization header beside basicAuth")
		}
		seen[name] = true
		if l.Header != "" && identity.Has(l.Header) {
			c.addf(at+".header", "%s cannot carry a key, because it carries a claim to the app (claimsToHeaders); choose another header for one of the two, for example X-API-Key for the key", l.Header)
		}
		if l.Header != "" && l.Prefix == "" && c.readsTokens(p, l.Header) {
			c.addf(at+".prefix", "tokens are read from %s too, and a key needs a prefix that tells the two apart; write one such as \"ApiKey \"", l.Header)
		}
	}
	c.claimsToHeaders(field+".claimsToHeaders", a.ClaimsToHeaders)
}

// readsTokens reports whether a token may be in the header, so that a key without a prefix could not be told from it.
func (c *checker) readsTokens(p *compiled.Policy, header string) bool {
	if strings.EqualFold(header, "Authorization") {
		return true // the default of every provider
	}
	for i := range p.Providers {
		for _, l := range p.Providers[i].From {
			if strings.EqualFold(l.Header, header) {
				return true
			}
		}
	}
	return false
}

func (c *checker) apiKeyLocation(field string, l compiled.APIKeyLocation) {
	n := 0
	for _, given := range []bool{l.Header != "", l.Query != "", l.BasicAuth} {
		if given {
			n++
		}
	}
	switch {
	case n != 1:
		c.addf(field, "write exactly one of header, query and basicAuth, for example {header: X-API-Key}")
	case l.Prefix != "" && l.Header == "":
		c.addf(field+".prefix", "a prefix is for headers only; leave it out")
	case strings.EqualFold(strings.TrimSpace(l.Prefix), "Bearer"), strings.EqualFold(strings.TrimSpace(l.Prefix), "Basic"):
		c.addf(field+".prefix", "%q is the scheme of tokens or of Basic authentication; write another, for example \"ApiKey \", or basicAuth: true", l.Prefix)
	case l.Header != "":
		c.add(field+".header", TokenHeader(l.Header))
	case l.Query != "":
		c.add(field+".query", queryName(l.Query))
	}
}

// queryName refuses a name that is not written alike by all clients.
func queryName(name string) error {
	for i := range len(name) {
		ch := name[i]
		if ('a' > ch|0x20 || ch|0x20 > 'z') && (ch < '0' || ch > '9') && ch != '_' && ch != '-' && ch != '.' || i >= 64 {
			return fmt.Errorf("%.64q is not a name of up to 64 letters, digits, underscores, hyphens and dots; write one such as api_key", name)
		}
	}
	return nil
}
