package loginprotection

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// TestRevealingSamples: a response with a secret of its request, however it is escaped, does not become a sample.
func TestRevealingSamples(t *testing.T) {
	body := func(text string) *sample { return &sample{Body: []byte(text)} }
	tests := map[string]struct {
		secret string
		sample *sample
		want   bool
	}{
		"as it is":        {"ada@example.com", body(`no account ada@example.com`), true},
		"in another case": {"Ada@Example.com", body(`no account ada@example.com`), true},
		"with spaces":     {" ada@example.com ", body(`<b>ada@example.com</b>`), true},
		"HTML":            {`a<b>"c'd`, body(`value="a&lt;b&gt;&#34;c&#39;d"`), true},
		"JSON":            {`a"b\c`, body(`{"input":"a\"b\\c"}`), true},
		"URL":             {"ada@example.com", &sample{Header: http.Header{"Location": {"/login?email=ada%40example.com"}}}, true},
		"a header":        {"hunter22", &sample{Header: http.Header{"X-Debug": {"password=hunter22"}}}, true},
		"too short":       {"the", body("the password is wrong"), false},
		"none":            {"ada@example.com", body("wrong email or password"), false},
	}
	for name, tt := range tests {
		if got := tt.sample.reveals([]string{tt.secret}); got != tt.want {
			t.Errorf("%s: %v; want %v", name, got, tt.want)
		}
	}
}

// TestSecretsOfRequests: the account, and fields that look like passwords and tokens.
func TestSecretsOfRequests(t *testing.T) {
	account := Account{}
	account.Body.JSON, account.Body.Form = []string{"user", "email"}, "email"
	for kind, text := range map[string]string{
		"application/json":                  `{"user":{"email":"ada@x","Password":"hunter22"},"grant_type":"password"}`,
		"application/x-www-form-urlencoded": "email=ada%40x&user_password=hunter22&grant_type=password",
	} {
		r := httptest.NewRequest(http.MethodPost, "/login", strings.NewReader(text))
		r.Header.Set("Content-Type", kind)
		g, err := account.read(r)
		if err != nil || g.account != "ada@x" || !slices.Contains(g.secrets, "ada@x") || !slices.Contains(g.secrets, "hunter22") || slices.Contains(g.secrets, "password") {
			t.Errorf("%s: %+v, %v", kind, g, err)
		}
	}
}

// FuzzDecodeSample: what is in the store becomes a response that can be written, or an error.
func FuzzDecodeSample(f *testing.F) {
	for _, s := range []sample{{Status: 401, Header: http.Header{"X-App": {"shop"}}, Body: []byte("wrong")}, {Status: 99}, {Status: 401, Header: http.Header{"Set-Cookie": {"a=b"}}}} {
		b, err := json.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeSample(b)
		if err != nil {
			return
		}
		if s.Status < 200 || s.Status > 599 || len(s.Body) > maxSample || s.Header.Get("Set-Cookie") != "" || s.Header.Get("Content-Length") != "" {
			t.Errorf("%+v", s)
		}
		httptest.NewRecorder().WriteHeader(s.Status)
	})
}
