package vault

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/vault/vaulttest"
)

// fake is a server that answers as no Vault at hand does.
func fake(t *testing.T, answer http.HandlerFunc) func(*Config) {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return func(c *Config) { c.Address, c.CABundle = s.URL, nil }
}

func TestHeadersAreTheConfigsAlone(t *testing.T) {
	t.Setenv("VAULT_TOKEN", "hvs.environment0000000000")
	t.Setenv("VAULT_NAMESPACE", "environment")
	t.Setenv("VAULT_WRAP_TTL", "60s")
	t.Setenv("VAULT_HEADERS", `{"X-Extra":"environment"}`)
	seen := make(chan http.Header, 16)
	answer := func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Clone()
		_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"ttl": 0, "renewable": false}})
	}
	for name, namespace := range map[string]string{"root namespace": "", "namespace": "team/shop"} {
		t.Run(name, func(t *testing.T) {
			change := fake(t, answer)
			h := open(t, TokenFile(file(t, "hvs.mine000000000000")), func(c *Config) { change(c); c.Namespace = namespace })
			h.await(t, OK)
			got := <-seen
			if strings.Trim(got.Get("X-Vault-Namespace"), "/") != namespace || got.Get("X-Vault-Token") != "hvs.mine000000000000" ||
				got.Get("X-Vault-Request") != "true" || got.Get("X-Extra")+got.Get("X-Vault-Wrap-TTL") != "" {
				t.Errorf("headers = %v", got)
			}
		})
	}
}

func TestAnswersThatAreNotVaults(t *testing.T) {
	t.Parallel()
	elsewhere := fake(t, func(http.ResponseWriter, *http.Request) { t.Error("a redirect in plain HTTP is followed") })
	var target Config
	elsewhere(&target)
	leak := `hvs.leaked0000000000 https://root:pass@vault/`
	tests := map[string]struct {
		answer      http.HandlerFunc
		want        State
		wantMessage string
	}{
		"page":            {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>" + leak)) }, Unreachable, "not Vault's"},
		"page with 403":   {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, leak, http.StatusForbidden) }, Unreachable, "not Vault's"},
		"endless answer":  {endless, Unreachable, "larger than"},
		"no token's data": {answering(http.StatusOK, `{"data":{"ttl":"soon"}}`), Unreachable, "not Vault's"},
		"quota":           {answering(http.StatusTooManyRequests, `{"errors":["quota exceeded"]}`), Throttled, "quota exceeded"},
		"not initialised": {answering(http.StatusServiceUnavailable, `{"errors":["Vault is not initialized"]}`), Sealed, "unseal"},
		"internal error":  {answering(http.StatusInternalServerError, `{"errors":["at `+leak+`"]}`), Unreachable, "[redacted]"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, target.Address, http.StatusTemporaryRedirect)
		}, Unreachable, ""},
		"nothing known":     {answering(http.StatusNotFound, `{"errors":[]}`), LoginRefused, "knows nothing"},
		"forbidden":         {answering(http.StatusForbidden, `{"errors":["permission denied"]}`), LoginRefused, "permission denied"},
		"own token in it":   {answering(http.StatusForbidden, `{"errors":["my-token"]}`), LoginRefused, "[redacted]"},
		"service not there": {answering(http.StatusBadGateway, `{"errors":[]}`), Unreachable, "502"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st := open(t, TokenFile(file(t, "my-token")), fake(t, tt.answer)).await(t, tt.want)
			if !strings.Contains(st.Message, tt.wantMessage) || strings.Contains(st.Message, "leaked") || strings.Contains(st.Message, "pass") ||
				strings.Contains(st.Message, "my-token") || strings.Contains(st.Message, "127.0.0.1") {
				t.Errorf("message = %q; want %q in it, and nothing secret", st.Message, tt.wantMessage)
			}
		})
	}
}

func answering(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

func endless(w http.ResponseWriter, _ *http.Request) {
	_, _ = w.Write([]byte(`{"data":{"x":"`))
	chunk := []byte(strings.Repeat("x", 64<<10))
	for range maxAnswer / len(chunk) * 4 {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

func TestKeyValueVersion1IsRefused(t *testing.T) {
	t.Parallel()
	server.Write(t, "sys/mounts/first", map[string]any{"type": "kv", "options": map[string]any{"version": "1"}})
	server.Policy(t, "first", `path "first/*" { capabilities = ["read"] }`)
	h := open(t, tokenFile(t, "first"), nil)
	_, err := hold(t, h, Ref{Path: "first/x", Key: "y"}).Read(t.Context())
	if err == nil || !strings.Contains(err.Error(), "not KV version 2") {
		t.Errorf("error = %v", err)
	}
}

func TestSecretMovesToAnotherMount(t *testing.T) {
	t.Parallel()
	mount := func() {
		server.Write(t, "sys/mounts/team/kv", map[string]any{"type": "kv", "options": map[string]any{"version": "2"}})
	}
	mount()
	server.Policy(t, "team", `path "team/kv/*" { capabilities = ["read"] }`)
	write := func(value string) {
		vaulttest.Eventually(t, "the engine to take writes", func() bool {
			_, err := server.Root().Logical().Write("team/kv/data/x", map[string]any{"data": map[string]any{"key": value}})
			return err == nil
		})
	}
	write("one")
	h := open(t, tokenFile(t, "team"), nil)
	s := hold(t, h, Ref{Path: "team/kv/x", Key: "key"})
	if read(t, s) != "one" {
		t.Error("a mount of two parts does not work")
	}
	if err := server.Root().Sys().Unmount("team/kv"); err != nil {
		t.Fatal(err)
	}
	mount()
	write("two")
	vaulttest.Eventually(t, "the value of the new engine", func() bool {
		v, err := s.Read(t.Context())
		return err == nil && string(v.Reveal()) == "two"
	})
}

func TestConfigRefused(t *testing.T) {
	t.Parallel()
	good := Config{Address: "https://vault", Auth: TokenFile("/token")}
	tests := map[string]struct {
		change  func(*Config)
		wantErr string
	}{
		"good":                {func(*Config) {}, ""},
		"loopback":            {func(c *Config) { c.Address = "http://[::1]:8200" }, ""},
		"plain HTTP":          {func(c *Config) { c.Address = "http://vault:8200" }, "https://"},
		"password in address": {func(c *Config) { c.Address = "https://u:s3cret@vault" }, "user name"},
		"no URL":              {func(c *Config) { c.Address = "https://s3cret\x00" }, "not a URL"},
		"no host":             {func(c *Config) { c.Address = "https://" }, "no host"},
		"socket":              {func(c *Config) { c.Address = "unix://x/vault.sock" }, "https://"},
		"CA without PEM":      {func(c *Config) { c.CABundle = []byte("x") }, "PEM"},
		"no login":            {func(c *Config) { c.Auth = nil }, "log in"},
		"no role":             {func(c *Config) { c.Auth = Kubernetes{TokenFile: "/t"} }, "role"},
		"mount with dots":     {func(c *Config) { c.Auth = Kubernetes{Mount: "../sys", Role: "r", TokenFile: "/t"} }, "dot segment"},
		"no role ID":          {func(c *Config) { c.Auth = AppRole{} }, "role ID"},
		"no path":             {func(c *Config) { c.Auth = TokenFile("") }, "path"},
		"polled too often":    {func(c *Config) { c.PollInterval = time.Millisecond }, "poll interval"},
		"negative time":       {func(c *Config) { c.MaxStale = -1 }, "negative"},
	}
	for name, tt := range tests {
		cfg := good
		tt.change(&cfg)
		c, err := New(cfg)
		if err == nil {
			c.Close()
		}
		if (err == nil) != (tt.wantErr == "") || err != nil && (!strings.Contains(err.Error(), tt.wantErr) || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("%s: error = %v; want one with %q", name, err, tt.wantErr)
		}
	}
}
