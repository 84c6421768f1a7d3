package httperr

import (
	"errors"
	"net/http"
	"strings"
)

// QuoteRealm makes a realm a quoted-string (RFC 9110 §5.6.4); an empty one is "postern". The error says that it cannot be
// one.
func QuoteRealm(realm string) (string, error) {
	if realm == "" {
		realm = "postern"
	}
	for i := range len(realm) {
		if realm[i] < ' ' || realm[i] > '~' {
			return "", errors.New("the realm is not printable ASCII")
		}
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(realm) + `"`, nil
}

// InvalidToken refuses a token with 401 (RFC 6750 §3.1). Realm is quoted; text is a sentence without quotes or full stop.
func InvalidToken(code Code, realm, text string) *Error {
	e := &Error{Status: http.StatusUnauthorized, Code: code, Detail: text + "."}
	return e.With("WWW-Authenticate", `Bearer realm=`+realm+`, error="invalid_token", error_description="`+text+`"`)
}
