package loginprotection

import (
	"encoding/json"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
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
		"as it is":                       {"ada@example.com", body(`no account ada@example.com`), true},
		"in another case":                {"Ada@Example.com", body(`no account ada@example.com`), true},
		"with spaces":                    {" ada@example.com ", body(`<b>ada@example.com</b>`), true},
		"HTML":                           {`a<b>"c'd`, body(`value="a&lt;b&gt;&#34;c&#39;d"`), true},
		"JSON":                           {`a"b\c`, body(`{"input":"a\"b\\c"}`), true},
		"HTML, as Python escapes it":     {`it's "x" at evil`, body(`no account <b>it&#x27;s &quot;x&quot; at evil</b>`), true},
		"HTML, as Java escapes it":       {`//evil.example`, body(`&#x2f;&#x2F;evil.example`), true},
		"JSON, as PHP escapes it":        {`https://evil.example/é`, body(`{"next":"https:\/\/evil.example\/\u00e9"}`), true},
		"JSON, as others escape it":      {`<b>evil&co</b>`, body(`{"next":"\u003Cb\u003Eevil\u0026co\u003C\/b\u003E"}`), true},
		"URL, with everything escaped":   {"https://evil.example/", &sample{Header: http.Header{"Location": {"/login?next=https%3A%2F%2Fevil%2Eexample%2F"}}}, true},
		"URL, in lower case":             {"a/b+c d@e", body(`href="?next=a%2fb%2bc+d%40e"`), true},
		"URL, without the reserved":      {"https://evil.example/?a=b c", body(`href="/x?next=https://evil.example/?a%3Db%20c"`), true},
		"full width, changed by the app": {"ａsk ｅvil", body("no account ask evil"), true},
		"full width, as it is":           {"ask-evil.example", body("no domain ａｓｋ-ｅｖｉｌ.example"), true},
		"Unicode":                        {"ÄDA@example.com", body("no account äda@example.com"), true},
		"JSON, lines":                    {"call\nevil\tnow", body(`{"no":"call\nevil\tnow"}`), true},
		"many times":                     {"an &amp;amp;amp;amp;invitation", body("no account an &amp;amp;amp;amp;amp;invitation"), true},
		"too often":                      {"&" + strings.Repeat("amp;", 100) + "x", body("another"), true},
		"twice":                          {`a<b@evil.example`, body(`href="?next=a%253Cb%2540evil.example"`), true},
		"cut off":                        {"an invitation by https://evil.example/ to everybody 1", body("no account an invitation by https://evil.exam..."), true},
		"URL":                            {"ada@example.com", &sample{Header: http.Header{"Location": {"/login?email=ada%40example.com"}}}, true},
		"a header":                       {"hunter22", &sample{Header: http.Header{"X-Debug": {"password=hunter22"}}}, true},
		"too short":                      {"the", body("the password is wrong"), false},
		"none":                           {"ada@example.com", body("wrong email or password"), false},
	}
	for name, tt := range tests {
		if got := tt.sample.reveals(append(beginnings([]string{tt.secret}), tt.secret)); got != tt.want {
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

// TestChosenTexts: what a client chooses in places that apps repeat is looked for; what every client sends, and words, are not.
func TestChosenTexts(t *testing.T) {
	account := Account{}
	account.Body.JSON = []string{"email"}
	r := httptest.NewRequest(http.MethodPost, "/login?q=queryvalue&query+name%21=1", strings.NewReader(
		`{"email":"ada@x","list":["in <a> list",{"deep":"in an object of a list"}],"unknown <b> member":1,"note":"call 0800 123456 for your account","kind":"refresh token"}`))
	for name, value := range map[string]string{
		"Content-Type": "application/json", "Accept": "application/json", "Cookie": `lang=en; csrf="Zm9yIGV2ZXJ5Ym9keSBlbHNl"; flash=<script>`, "User-Agent": "Mozilla/5.0 <i>", "X-Theme": "dark",
		"X-Forwarded-Host": "evil.example", "Cache-Control": "max-age=0",
	} {
		r.Header.Set(name, value)
	}
	g, err := account.read(r)
	if err != nil {
		t.Fatal(err)
	}
	got := append(g.secrets, chosen(r)...)
	slices.Sort(got)
	want := []string{"1", "<script>", "Mozilla/5.0 <i>", "Zm9yIGV2ZXJ5Ym9keSBlbHNl", "ada@x", "ada@x", "call 0800 123456 for your account", "in <a> list", "in an object of a list", "query name!", "queryvalue", "unknown <b> member"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestManySecrets: a response to a request with more texts than are looked for is no sample.
func TestManySecrets(t *testing.T) {
	s := &sample{Body: []byte("wrong")}
	if many := make([]string, maxSecrets+1); !s.reveals(many) || s.reveals(many[1:]) {
		t.Error("the number of texts is not bounded")
	}
	if s := (&sample{Body: []byte("&" + strings.Repeat("amp;", 100) + "x")}); !s.reveals(nil) {
		t.Error("a body that is escaped very often is a sample")
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

// FuzzReveals: what a client sent is found in a response, in each way to escape it, and looking for it does not take long.
func FuzzReveals(f *testing.F) {
	for _, secret := range []string{"ada@example.com", `<a href="https://evil.example/?a=b+c&d=%20">'x'</a>`, `\u003c\x3c%3C&lt;`, "&amp;amp;amp;lt;", "ÀÉ İı ǅ\x00\u2028"} {
		f.Add(secret)
	}
	f.Fuzz(func(t *testing.T, secret string) {
		secret = strings.ToValidUTF8(secret, "\ufffd")
		quoted, err := json.Marshal(secret)
		if err != nil {
			t.Fatal(err)
		}
		if plain, ok := unescaped(strings.TrimSpace(secret), maxRounds); ok && len(plain) < shortest {
			return
		}
		for _, body := range []string{secret, html.EscapeString(secret), url.QueryEscape(secret), string(quoted)} {
			if s := (&sample{Body: []byte("no account " + body + "!")}); !s.reveals([]string{secret}) {
				t.Errorf("%q is not found in %q", secret, body)
			}
		}
	})
}
