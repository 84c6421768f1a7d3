package httperr

import (
	"errors"
	"net/http"
	"strings"
)

// QuoteRealm returns a realm as a quoted-string (RFC 9110 §5.6.4); an empty realm becomes "postern". It returns an
// error if the realm is not printable ASCII.
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

// InvalidToken returns a 401 error (RFC 6750 §3.1). realm is quoted; text is a sentence without quotes or full stop.
func InvalidToken(code Code, realm, text string) *Error {
	e := &Error{Status: http.StatusUnauthorized, Code: code, Detail: text + "."}
	return e.With("WWW-Authenticate", `Bearer realm=`+realm+`, error="invalid_token", error_description="`+text+`"`)
}
