package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// migration is an app before its sidecar, which runs the policy of postern init.
type migration struct {
	t              *testing.T
	url            string
	folder, policy string
	out            *output
	secret         []byte
	// last are the headers of the app's last request.
	last atomic.Pointer[http.Header]
}

// migrate runs init for a shape of settings, stores its secrets, and starts the sidecar.
func migrate(t *testing.T, shape string, args ...string) *migration {
	t.Helper()
	m := &migration{t: t}
	settings := filepath.Join(shapes, shape, "settings.env")
	m.folder, _ = initialized(t, settings, args...)
	secret, _, err := run(t, "", "init", "--env-file", settings, "--name", "shop", "--print-secret", "legacy-secret")
	if err != nil {
		t.Fatal(err)
	}
	m.secret = []byte(secret)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	secrets := t.TempDir()
	for name, value := range map[string][]byte{"shop-legacy/secret": m.secret, "shop-signing/key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})} {
		path := filepath.Join(secrets, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, path, string(value))
	}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := r.Header.Clone()
		m.last.Store(&header)
		if r.Method == http.MethodPost {
			w.Header().Set("Postern-Subject", "42")
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token":"of the app"}`)
	}))
	t.Cleanup(app.Close)
	// Without the class, which names a Redis that is not here.
	file, out := runInBackground(t, content(t, m.folder, policyFile), "--upstream", app.URL, "--secrets-dir", secrets, "--log-format", "text")
	m.policy, m.out = file, out
	m.url = out.await(t, `try +curl -i (http://127\.0\.0\.1:\d+)/\n`)[1]
	return m
}

// send returns the status and the body of a request with a token, or with none.
func (m *migration) send(method, path, token string) (int, string, http.Header) {
	m.t.Helper()
	m.last.Store(&http.Header{})
	r, err := http.NewRequestWithContext(m.t.Context(), method, m.url+path, strings.NewReader("username=ada&password=right"))
	if err != nil {
		m.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	r.Header.Set("X-Auth-Subject", "forged")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		m.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	return resp.StatusCode, string(body), resp.Header
}

func (m *migration) seen() http.Header { return *m.last.Load() }

// old is a token of the app's own code.
func (m *migration) old(method jwt.SigningMethod, claims jwt.MapClaims) string {
	m.t.Helper()
	signed, err := jwt.NewWithClaims(method, claims).SignedString(m.secret)
	if err != nil {
		m.t.Fatal(err)
	}
	return signed
}

// TestMigration goes through the plan of docs/migrate.md: in Shadow mode the app sees what it saw, and the caller beside it, and logins
// get tokens of the sidecar; enforced, the old tokens stay good.
func TestMigration(t *testing.T) {
	m := migrate(t, "fastapi")
	const login, route = "/api/v1/login/access-token", "/api/v1/items"
	// Shadow: the tutorial's token has sub and exp alone.
	token := m.old(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "7", "exp": time.Now().Add(time.Hour).Unix()})
	if status, _, _ := m.send("GET", route, token); status != 200 || m.seen().Get("X-Auth-Subject") != "7" || m.seen().Get("Authorization") != "Bearer "+token {
		t.Errorf("in Shadow: %d, the app sees %v", status, m.seen())
	}
	if status, _, _ := m.send("GET", route, ""); status != 200 || m.seen().Get("X-Auth-Subject") != "" {
		t.Errorf("in Shadow, without a token: %d, the app sees %v", status, m.seen())
	}
	issued := m.login(login)
	if status, _, _ := m.send("GET", route, issued); status != 200 || m.seen().Get("X-Auth-Subject") != "42" {
		t.Errorf("a new token in Shadow: %d, the app sees %v", status, m.seen())
	}

	enforced := strings.Replace(content(t, m.policy), "mode: Shadow", "mode: Enforce", 1)
	write(t, m.policy, enforced)
	m.out.await(t, "changed policy active")
	if status, _, _ := m.send("GET", route, token); status != 200 || m.seen().Get("X-Auth-Subject") != "7" || m.seen().Get("Authorization") != "" {
		t.Errorf("enforced: %d, the app sees %v", status, m.seen())
	}
	if status, body, _ := m.send("GET", route, ""); status != 401 {
		t.Errorf("enforced, without a token: %d %s", status, body)
	}
	for name, token := range map[string]string{"of the Shadow mode": issued, "new": m.login(login)} {
		if status, body, _ := m.send("GET", route, token); status != 200 || m.seen().Get("X-Auth-Subject") != "42" {
			t.Errorf("a token, %s: %d %s, the app sees %v", name, status, body, m.seen())
		}
	}
	// The way back logs nobody out.
	write(t, m.policy, strings.Replace(enforced, "mode: Enforce", "mode: Shadow", 1))
	m.out.await(t, "(?s)changed policy active.*changed policy active")
	if status, _, _ := m.send("GET", route, issued); status != 200 || m.seen().Get("X-Auth-Subject") != "42" {
		t.Errorf("back in Shadow: %d, the app sees %v", status, m.seen())
	}
}

// login returns the access token of the sidecar, which replaces the one in the app's response.
func (m *migration) login(path string) string {
	m.t.Helper()
	var issued struct {
		Access string `json:"access_token"`
	}
	status, body, header := m.send("POST", path, "")
	if err := json.Unmarshal([]byte(body), &issued); err != nil || status != 200 || strings.Count(issued.Access, ".") != 2 || header.Get("Postern-Subject") != "" {
		m.t.Fatalf("login: %d %s, %v", status, body, err)
	}
	return issued.Access
}

// TestOldTokensOfLibraries: tokens as the libraries of each kind of app write them are accepted under the policy of init, and those for other
// purposes are not where a claim tells them apart.
func TestOldTokensOfLibraries(t *testing.T) {
	at := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	tests := map[string]struct {
		shape       string
		method      jwt.SigningMethod
		claims      jwt.MapClaims
		wantSubject string // "" for a refusal
	}{
		"python-jose":                        {"fastapi", jwt.SigningMethodHS256, jwt.MapClaims{"sub": "ada@example.com", "exp": at(time.Hour)}, "ada@example.com"},
		"python-jose, a fractional time":     {"fastapi", jwt.SigningMethodHS256, jwt.MapClaims{"sub": "7", "exp": float64(at(time.Hour)) + 0.25}, "7"},
		"PyJWT":                              {"fastapi", jwt.SigningMethodHS256, jwt.MapClaims{"sub": "b5c7", "iat": at(0), "exp": at(8 * 24 * time.Hour)}, "b5c7"},
		"PyJWT, expired":                     {"fastapi", jwt.SigningMethodHS256, jwt.MapClaims{"sub": "b5c7", "exp": at(-time.Hour)}, ""},
		"PyJWT, without exp":                 {"fastapi", jwt.SigningMethodHS256, jwt.MapClaims{"sub": "b5c7"}, ""},
		"jsonwebtoken":                       {"express", jwt.SigningMethodHS256, jwt.MapClaims{"sub": "65f0", "type": "access", "iat": at(0), "exp": at(time.Hour), "iss": "shop-api", "aud": "shop-web"}, "65f0"},
		"jsonwebtoken, for another app":      {"express", jwt.SigningMethodHS256, jwt.MapClaims{"sub": "65f0", "exp": at(time.Hour), "iss": "shop-api", "aud": "admin"}, ""},
		"jsonwebtoken, of another issuer":    {"express", jwt.SigningMethodHS256, jwt.MapClaims{"sub": "65f0", "exp": at(time.Hour), "iss": "https://shop.example.com", "aud": "shop-web"}, ""},
		"simplejwt":                          {"django", jwt.SigningMethodHS512, jwt.MapClaims{"token_type": "access", "user_id": 7, "jti": "9f", "iat": at(0), "exp": at(5 * time.Minute)}, "7"},
		"simplejwt, user_id as a text":       {"django", jwt.SigningMethodHS512, jwt.MapClaims{"token_type": "access", "user_id": "7", "jti": "9f", "iat": at(0), "exp": at(5 * time.Minute)}, "7"},
		"simplejwt, a refresh token":         {"django", jwt.SigningMethodHS512, jwt.MapClaims{"token_type": "refresh", "user_id": 7, "jti": "9f", "iat": at(0), "exp": at(24 * time.Hour)}, ""},
		"simplejwt, another algorithm":       {"django", jwt.SigningMethodHS256, jwt.MapClaims{"token_type": "access", "user_id": 7, "exp": at(time.Minute)}, ""},
		"jjwt":                               {"spring", jwt.SigningMethodHS256, jwt.MapClaims{"sub": "ada", "iat": at(0), "exp": at(24 * time.Hour)}, "ada"},
		"jjwt, longer than its key requires": {"spring", jwt.SigningMethodHS384, jwt.MapClaims{"sub": "ada", "iat": at(0), "exp": at(24 * time.Hour)}, ""},
	}
	sidecars := map[string]*migration{}
	for _, shape := range []string{"fastapi", "express", "django", "spring"} {
		m := migrate(t, shape)
		write(t, m.policy, strings.Replace(content(t, m.policy), "mode: Shadow", "mode: Enforce", 1))
		m.out.await(t, "changed policy active")
		sidecars[shape] = m
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := sidecars[tt.shape]
			status, body, _ := m.send("GET", "/orders", m.old(tt.method, tt.claims))
			if want := map[bool]int{true: 200, false: 401}[tt.wantSubject != ""]; status != want || tt.wantSubject != "" && m.seen().Get("X-Auth-Subject") != tt.wantSubject {
				t.Errorf("%d %s, the app sees %v; want %d, %q", status, body, m.seen(), want, tt.wantSubject)
			}
		})
	}
}
