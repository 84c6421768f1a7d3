package vault

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// fake is a server with responses that the real Vault of the tests does not give.
func fake(t *testing.T, response http.HandlerFunc) func(*Config) {
	t.Helper()
	s := httptest.NewServer(response)
	t.Cleanup(s.Close)
	return func(c *Config) { c.Address, c.CABundle = s.URL, nil }
}

func TestHeadersComeFromTheConfig(t *testing.T) {
	t.Setenv("VAULT_TOKEN", "hvs.environment0000000000")
	t.Setenv("VAULT_NAMESPACE", "environment")
	t.Setenv("VAULT_WRAP_TTL", "60s")
	t.Setenv("VAULT_HEADERS", `{"X-Extra":"environment"}`)
	seen := make(chan http.Header, 16)
	response := func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Clone()
		_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"ttl": 0, "renewable": false}})
	}
	for name, namespace := range map[string]string{"root namespace": "", "namespace": "team/shop"} {
		t.Run(name, func(t *testing.T) {
			change := fake(t, response)
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

func TestUnexpectedResponses(t *testing.T) {
	t.Parallel()
	plain := fake(t, func(http.ResponseWriter, *http.Request) { t.Error("a redirect to plain HTTP was followed") })
	var target Config
	plain(&target)
	leak := `hvs.leaked0000000000 https://root:pass@vault/`
	tests := map[string]struct {
		response    http.HandlerFunc
		want        State
		wantMessage string
	}{
		"page":            {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>" + leak)) }, Unreachable, "not from Vault"},
		"page with 403":   {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, leak, http.StatusForbidden) }, Unreachable, "not from Vault"},
		"endless body":    {endless, Unreachable, "larger than"},
		"malformed token": {answering(http.StatusOK, `{"data":{"ttl":"soon"}}`), Unreachable, "not from Vault"},
		"quota":           {answering(http.StatusTooManyRequests, `{"errors":["quota exceeded"]}`), Throttled, "quota exceeded"},
		"not initialised": {answering(http.StatusServiceUnavailable, `{"errors":["Vault is not initialized"]}`), Sealed, "unseal"},
		"internal error":  {answering(http.StatusInternalServerError, `{"errors":["at `+leak+`"]}`), Unreachable, "[redacted]"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, target.Address, http.StatusTemporaryRedirect)
		}, Unreachable, ""},
		"not found":              {answering(http.StatusNotFound, `{"errors":[]}`), LoginRefused, "does not know"},
		"forbidden":              {answering(http.StatusForbidden, `{"errors":["permission denied"]}`), LoginRefused, "permission denied"},
		"own token in the error": {answering(http.StatusForbidden, `{"errors":["my-token"]}`), LoginRefused, "[redacted]"},
		"bad gateway":            {answering(http.StatusBadGateway, `{"errors":[]}`), Unreachable, "502"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st := open(t, TokenFile(file(t, "my-token")), fake(t, tt.response)).await(t, tt.want)
			if !strings.Contains(st.Message, tt.wantMessage) || strings.Contains(st.Message, "leaked") || strings.Contains(st.Message, "pass") ||
				strings.Contains(st.Message, "my-token") || strings.Contains(st.Message, "127.0.0.1") {
				t.Errorf("message = %q; want %q and no secret", st.Message, tt.wantMessage)
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
	for range maxResponse / len(chunk) * 4 {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}
