package loginprotection

import (
	"bytes"
	"encoding/json"
	"html"
	"net/url"
	"strings"

	"github.com/posterndev/postern/sidecar/httpkit/reqbody"
)

// shortest is the length in bytes from which a secret is looked for in a response: shorter ones occur by chance.
const shortest = 4

// secretsOf returns the fields of a body that look like secrets by their names. A body that is neither a form nor JSON has none.
func secretsOf(body *reqbody.Body) (secrets []string) {
	if body.IsForm() {
		form, _ := body.Form() // Field returns the error
		for name, values := range form {
			if secretName(name) {
				secrets = append(secrets, values...)
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
			if secretName(name) {
				secrets = append(secrets, v)
			}
		case map[string]any:
			secrets = secretMembers(v, secrets)
		}
	}
	return secrets
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
