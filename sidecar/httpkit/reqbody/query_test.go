package reqbody

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// TestNotInQuery: the field's spellings are refused in a query, and other parameters are not.
func TestNotInQuery(t *testing.T) {
	refused := map[string][]string{
		"email":      {"email=a", "email", "a=b&email=c", "a=b;email=c", "EMAIL=a", "email[]=a", "email%5B0%5D=a", "+email=a", "%5Bemail%5D=a", "!email=a", "email%00x=a", "%65mail=a", "a=b&%zz=c"},
		"user.email": {"user.email=a", "user[email]=a", "user_email=a"},
	}
	for wanted, queries := range refused {
		for _, q := range queries {
			if err := NotInQuery(q, wanted); err == nil || httperr.From(err).Status != http.StatusBadRequest {
				t.Errorf("%s in %q: %v; want a refusal", wanted, q, err)
			}
		}
	}
	for _, q := range []string{"", "next=/email", "emails=a", "my_email=a", "x[email]=a", "next=%zz", "&&"} {
		if err := NotInQuery(q, "email"); err != nil {
			t.Errorf("%q: %v", q, err)
		}
	}
}

// FuzzNotInQuery: a query in which net/url finds the parameter is refused.
func FuzzNotInQuery(f *testing.F) {
	for _, q := range []string{"email=a", "a=b&email=c", "email%5B%5D=a", ";email", "%zz&email"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, q string) {
		values, _ := url.ParseQuery(q)
		if values.Has("email") && NotInQuery(q, "email") == nil {
			t.Errorf("%q passes", q)
		}
	})
}
