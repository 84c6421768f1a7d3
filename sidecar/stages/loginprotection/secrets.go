package loginprotection

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/posterndev/postern/sidecar/httpkit/reqbody"
)

// Bounds of secrets, in bytes.
const (
	// shortest is the length from which a secret is looked for in a response, and shortestLetters that of its letters: shorter ones occur by
	// chance.
	shortest        = 4
	shortestLetters = 8
	// longestWord is the length up to which a text of letters is a word, and longestWhole that up to which a text is not cut off.
	longestWord  = 20
	longestWhole = 24
	// maxSecrets is how many secrets a request may have, so that looking for them is bounded.
	maxSecrets = 512
	// maxRounds is how often a secret may be escaped.
	maxRounds = 8
)

// secretsOf returns the fields of a body that look like secrets by their names, and those that are no simple words. A name that is no simple
// word is one too: apps name fields that they do not know. A body that is neither a form nor JSON has none.
func secretsOf(body *reqbody.Body) (secrets []string) {
	if body.IsForm() {
		form, _ := body.Form() // Field returns the error
		for name, values := range form {
			secrets = appendChosen(secrets, name)
			for _, v := range values {
				if secretName(name) || !isWord(v) {
					secrets = append(secrets, v)
				}
			}
		}
		return secrets
	}
	object, _ := body.Object()
	return secretMembers("", object, nil)
}

// secretMembers adds the secrets of a JSON value that has a name.
func secretMembers(name string, value any, secrets []string) []string {
	switch v := value.(type) {
	case string:
		if secretName(name) || !isWord(v) {
			secrets = append(secrets, v)
		}
	case []any:
		for _, element := range v {
			secrets = secretMembers(name, element, secrets)
		}
	case map[string]any:
		for member, value := range v {
			secrets = secretMembers(member, value, appendChosen(secrets, member))
		}
	}
	return secrets
}

// isWord reports whether a value is so simple that it can be in a response by chance, such as the password of grant_type=password. Addresses,
// markup and sentences are not: a response that has them would show to others what a client has chosen.
func isWord(value string) bool {
	return len(value) <= longestWord && !strings.ContainsFunc(value, func(r rune) bool {
		return r != '_' && r != '-' && r != ' ' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
}

func appendChosen(texts []string, text string) []string {
	if isWord(text) {
		return texts
	}
	return append(texts, text)
}

// nameOf returns what is before the @ of an account; "" for none. Apps greet with it.
func nameOf(account string) string {
	name, _, found := strings.Cut(account, "@")
	if !found {
		return ""
	}
	return name
}

// beginnings returns the first characters of long texts: apps cut them off.
func beginnings(texts []string) (cut []string) {
	for _, text := range texts {
		if len(text) > longestWhole {
			cut = append(cut, strings.ToValidUTF8(text[:longestWhole], ""))
		}
	}
	return cut
}

// chosen returns texts outside the body that a client chooses, and that apps repeat in links and forms.
func chosen(r *http.Request) (texts []string) {
	for name, values := range r.Header {
		switch {
		case name == "Cookie":
			for _, v := range values {
				for pair := range strings.SplitSeq(v, ";") {
					_, text, _ := strings.Cut(pair, "=")
					texts = appendChosen(texts, strings.Trim(text, `" `))
				}
			}
		case !unechoed(name):
			for _, v := range values {
				texts = appendChosen(texts, v)
			}
		}
	}
	for name, values := range r.URL.Query() {
		texts = append(appendChosen(texts, name), values...)
	}
	return texts
}

// unechoed are fields of a request whose values also occur in responses by chance, and those that are part of the place.
func unechoed(name string) bool {
	switch name {
	case "Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Connection", "Content-Type", "Pragma", "Priority", "Te":
		return true
	}
	return strings.HasPrefix(name, "Sec-") || strings.HasPrefix(name, "Postern-") || slices.Contains(placeFields, name)
}

// place is the host and the origin that a client names. A response with one of them is only for clients that name the same.
type place []string

var placeFields = []string{"X-Forwarded-Host", "X-Forwarded-Prefix", "Forwarded", "Origin"}

func placeOf(r *http.Request) place {
	p := place{r.Host}
	for _, name := range placeFields {
		p = append(p, strings.Join(r.Header.Values(name), ","))
	}
	return p
}

// ofDomain is the place of an account in a domain. Apps name domains that they do not accept.
func (p place) ofDomain(account string) place {
	_, domain, _ := strings.Cut(account, "@")
	return append(p[:len(p):len(p)], domain)
}

// form returns the form of a response that is only for this place.
func (p place) form(form string) string {
	sum := sha256.Sum256([]byte(strings.Join(p, "\x00")))
	return form + "-" + hex.EncodeToString(sum[:8])
}

func secretName(name string) bool {
	name = strings.ToLower(name)
	for _, part := range []string{"pass", "pwd", "secret", "token", "csrf", "otp", "pin", "mail", "user"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}
