package loginprotection

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/posterndev/postern/sidecar/httpkit/reqbody"
)

// shortest is the length in bytes from which a secret is looked for in a response: shorter ones occur by chance.
const shortest = 4

// secretsOf returns the fields of a body that look like secrets by their names, and those that are no simple words. A body that is neither a form nor JSON has none.
func secretsOf(body *reqbody.Body) (secrets []string) {
	if body.IsForm() {
		form, _ := body.Form() // Field returns the error
		for name, values := range form {
			for _, v := range values {
				if secretName(name) || !isWord(v) {
					secrets = append(secrets, v)
				}
			}
		}
		return secrets
	}
	object, _ := body.Object()
	return secretMembers(object, nil)
}

func secretMembers(object map[string]any, secrets []string) []string {
	for name, value := range object {
		switch v := value.(type) {
		case string:
			if secretName(name) || !isWord(v) {
				secrets = append(secrets, v)
			}
		case map[string]any:
			secrets = secretMembers(v, secrets)
		}
	}
	return secrets
}

// isWord reports whether a value is so simple that it can be in a response by chance, such as the password of grant_type=password. Addresses
// and markup are not: a response that has them would show to others what a client has chosen.
func isWord(value string) bool {
	return !strings.ContainsFunc(value, func(r rune) bool {
		return r != '_' && r != '-' && r != ' ' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
}

// chosen returns texts outside the body that a client chooses, and that apps repeat in links and forms.
func chosen(r *http.Request) (texts []string) {
	for _, name := range []string{"Referer", "X-Original-Url", "X-Rewrite-Url"} {
		texts = append(texts, r.Header.Values(name)...)
	}
	for _, values := range r.URL.Query() {
		texts = append(texts, values...)
	}
	return texts
}

// place is the host and the origin that a client names. A response with one of them is only for clients that name the same.
type place []string

func placeOf(r *http.Request) place {
	p := place{r.Host}
	for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Prefix", "Forwarded", "Origin"} {
		p = append(p, strings.Join(r.Header.Values(name), ","))
	}
	return p
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

// reveals reports whether a response has a secret of its request, as it is, or escaped for HTML, JSON or a URL.
func (s *sample) reveals(secrets []string) bool {
	text := [][]byte{bytes.ToLower(s.Body)}
	for _, values := range s.Header {
		for _, v := range values {
			text = append(text, []byte(strings.ToLower(v)))
		}
	}
	for _, secret := range secrets {
		for _, form := range escaped(strings.ToLower(strings.TrimSpace(secret))) {
			for _, t := range text {
				if bytes.Contains(t, form) {
					return true
				}
			}
		}
	}
	return false
}

func escaped(secret string) (forms [][]byte) {
	if len(secret) < shortest {
		return nil
	}
	quoted, _ := json.Marshal(secret)
	for _, form := range []string{secret, html.EscapeString(secret), strings.Trim(string(quoted), `"`), url.QueryEscape(secret), url.PathEscape(secret)} {
		forms = append(forms, bytes.ToLower([]byte(form)))
	}
	return forms
}
