//go:build e2e

package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// secrets are all that the tests have sent or got and that no log may have. Each has a description.
var secrets = &registry{known: map[string]string{}}

type registry struct {
	mu    sync.Mutex
	known map[string]string
}

// leastSecret is the length, in bytes, of the shortest text that is looked for. Some passwords of tests are shorter.
const leastSecret = 4

// add registers a secret.
func (r *registry) add(what, secret string) {
	if len(secret) < leastSecret {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	escaped, _ := json.Marshal(secret) // as a log in JSON has it
	for _, s := range []string{secret, string(escaped[1 : len(escaped)-1])} {
		if _, ok := r.known[s]; !ok {
			r.known[s] = what
		}
	}
}

// addToken registers a token. A part of a JWT is a secret too, and so are its claims in clear text.
func (r *registry) addToken(what, token string) {
	r.add(what, token)
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return
	}
	r.add("the claims of "+what+", encoded", parts[1])
	r.add("the signature of "+what, parts[2])
	if claims, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
		r.add("the claims of "+what, string(claims))
	}
}

// addHeader registers the fields with secrets.
func (r *registry) addHeader(h http.Header) {
	for _, value := range h["Authorization"] {
		scheme, credentials, _ := strings.Cut(value, " ")
		if r.addToken("an Authorization", credentials); strings.EqualFold(scheme, "Basic") {
			if pair, err := base64.StdEncoding.DecodeString(credentials); err == nil {
				_, password, _ := strings.Cut(string(pair), ":")
				r.add("a password of Basic", password)
			}
		}
	}
	for _, value := range h["X-Api-Key"] {
		r.add("an API key", value)
	}
	for _, value := range h["Dpop"] {
		r.addToken("a DPoP proof", value)
	}
	for _, line := range h["Cookie"] {
		for pair := range strings.SplitSeq(line, "; ") {
			_, value, _ := strings.Cut(pair, "=")
			r.addToken("a cookie", value)
		}
	}
	for _, line := range h["Set-Cookie"] {
		pair, _, _ := strings.Cut(line, ";")
		_, value, _ := strings.Cut(pair, "=")
		r.addToken("a Set-Cookie", value)
	}
}

// addBody registers passwords and tokens of JSON or a form.
func (r *registry) addBody(body string) {
	values := map[string]string{}
	var members map[string]any
	if json.Unmarshal([]byte(body), &members) == nil {
		for name, value := range members {
			values[name], _ = value.(string)
		}
	} else if form, err := url.ParseQuery(body); err == nil {
		for name := range form {
			values[name] = form.Get(name)
		}
	}
	for name, value := range values {
		if strings.HasPrefix(name, "password") || strings.HasSuffix(name, "token") {
			r.addToken("a "+name, value)
		}
	}
}

// watched registers what requests and responses have.
type watched struct{ *http.Transport }

// maxWatchedBody bounds the bodies that are read for their secrets, in bytes.
const maxWatchedBody = 64 << 10

func (w watched) RoundTrip(request *http.Request) (*http.Response, error) {
	secrets.addHeader(request.Header)
	if request.GetBody != nil && request.ContentLength < maxWatchedBody {
		if body, err := request.GetBody(); err == nil {
			text, _ := io.ReadAll(body)
			secrets.addBody(string(text))
		}
	}
	response, err := w.Transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	secrets.addHeader(response.Header)
	if response.ContentLength < 0 || response.ContentLength > maxWatchedBody || !strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
		return response, nil
	}
	text, err := io.ReadAll(response.Body)
	secrets.addBody(string(text))
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(text), failing{err}), response.Body}
	return response, nil
}

// failing returns an error, or the end.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err == nil {
		return 0, io.EOF
	}
	return 0, f.err
}

// finding is a secret in a text.
type finding struct{ what, line string }

// window is how much of a secret selects it.
const window = 8

// search returns the lines of a text that have a secret. The secrets are not in what it returns.
func (r *registry) search(text []byte) (found []finding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	long, short := map[string][]string{}, []string{}
	for secret := range r.known {
		if len(secret) < window {
			short = append(short, regexp.QuoteMeta(secret))
			continue
		}
		long[secret[:window]] = append(long[secret[:window]], secret)
	}
	note := func(at int, secret string) {
		begin, end := bytes.LastIndexByte(text[:at], '\n')+1, bytes.IndexByte(text[at:], '\n')
		if end < 0 {
			end = len(text) - at
		}
		found = append(found, finding{r.known[secret], strings.ReplaceAll(string(text[begin:at+end]), secret, "████")})
	}
	for i := 0; i+window <= len(text); i++ {
		for _, secret := range long[string(text[i:i+window])] {
			if bytes.HasPrefix(text[i:], []byte(secret)) {
				note(i, secret)
			}
		}
	}
	if len(short) > 0 { // as words, since a short secret may be a part of another word
		words := regexp.MustCompile(`\b(` + strings.Join(slices.Sorted(slices.Values(short)), "|") + `)\b`)
		for _, at := range words.FindAllIndex(text, -1) {
			note(at[0], string(text[at[0]:at[1]]))
		}
	}
	return found
}

// TestSecretsAreFound: the search finds each kind of secret in a line of a log, and nothing in one without.
func TestSecretsAreFound(t *testing.T) {
	token := newIssuer(t).token("ada")
	r := &registry{known: map[string]string{}}
	r.addHeader(http.Header{"Authorization": {"Bearer " + token}, "X-Api-Key": {"pstn_ci_0123456789"}, "Cookie": {"a=cookie-value-1; b=2"}, "Set-Cookie": {"__Host-d=device-value-1; Secure"}})
	r.addHeader(http.Header{"Dpop": {"dpop-proof-1"}})
	r.addHeader(http.Header{"Authorization": {"Basic YWRhOmJhc2ljLXMzY3JldA=="}})
	r.addBody(`{"email":"ada@example.com","password":"correct horse","password2":"correct horsf","refresh_token":"refresh-0123456789"}`)
	r.addBody("grant_type=refresh_token&refresh_token=refresh-of-a-form")
	r.addBody(`{"password":"demo"}`)
	claims, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{
		token, strings.Split(token, ".")[1], strings.Split(token, ".")[2], string(claims), "pstn_ci_0123456789", "cookie-value-1", "device-value-1", "basic-s3cret", "dpop-proof-1",
		"correct horse", "correct horsf", "refresh-0123456789", "refresh-of-a-form", "demo",
	} {
		line := fmt.Sprintf(`{"msg":"request","detail":"x %s y"}`, secret)
		found := r.search([]byte("{\"msg\":\"one\"}\n" + line + "\n{\"msg\":\"three\"}\n"))
		if len(found) == 0 || strings.Contains(fmt.Sprint(found), secret) || !strings.Contains(found[0].line, `"msg":"request"`) {
			t.Errorf("%s in %s: found %v", secret, line, found)
		}
	}
	clean := `{"msg":"request","path":"/login","subject":"ada","kid":"0123456789","note":"demonstration of refresh_token"}`
	if found := r.search([]byte(clean)); len(found) > 0 {
		t.Errorf("found %v in %s", found, clean)
	}
}
