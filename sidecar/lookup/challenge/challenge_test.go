package challenge

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/lookup/service"
)

type fixed string

func (f fixed) Read(context.Context) (secret.Value, error) {
	if f == "" {
		return secret.Value{}, errors.New("reading secret: it is missing")
	}
	return secret.New([]byte(f)), nil
}

// siteverify verifies the token "good" for the secret "s3cret", once each, as siteverify does.
func siteverify(t *testing.T, hostname, action string) *httptest.Server {
	used := map[string]bool{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := r.PostFormValue("response")
		switch {
		case r.Method != http.MethodPost:
			w.WriteHeader(http.StatusMethodNotAllowed)
		case r.PostFormValue("secret") != "s3cret":
			_, _ = w.Write([]byte(`{"success":false,"error-codes":["invalid-input-secret"]}`))
		case token != "good" || used[token] || r.PostFormValue("remoteip") != "192.0.2.1":
			_, _ = w.Write([]byte(`{"success":false,"error-codes":["timeout-or-duplicate"]}`))
		default:
			used[token] = true
			_, _ = w.Write([]byte(`{"success":true,"hostname":"` + hostname + `","action":"` + action + `","score":0.9}`))
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func verifier(t *testing.T, url, key string, change func(*Config)) *Verifier {
	t.Helper()
	client := service.NewClient(service.Config{})
	t.Cleanup(client.Close)
	c := Config{URL: url, Secret: fixed(key), Client: client, SendAddress: true}
	if change != nil {
		change(&c)
	}
	v, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVerify(t *testing.T) {
	addr := netip.MustParseAddr("192.0.2.1")
	tests := map[string]struct {
		token, key string
		change     func(*Config)
		want       error
	}{
		"solved":                {token: "good", key: "s3cret\n"},
		"of this site":          {token: "good", key: "s3cret", change: func(c *Config) { c.Hostnames, c.Action = []string{"Shop.example.com"}, "login" }},
		"of another site":       {token: "good", key: "s3cret", change: func(c *Config) { c.Hostnames = []string{"other.example.com"} }, want: ErrRejected},
		"of another action":     {token: "good", key: "s3cret", change: func(c *Config) { c.Action = "register" }, want: ErrRejected},
		"without the address":   {token: "good", key: "s3cret", change: func(c *Config) { c.SendAddress = false }, want: ErrRejected},
		"no token":              {key: "s3cret", want: ErrMissing},
		"a wrong token":         {token: "bad&response=good", key: "s3cret", want: ErrRejected},
		"a huge token":          {token: strings.Repeat("x", maxToken+1), key: "s3cret", want: ErrRejected},
		"a wrong secret":        {token: "good", key: "wrong", want: service.ErrUnavailable},
		"the secret is missing": {token: "good", want: service.ErrUnavailable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			v := verifier(t, siteverify(t, "shop.example.com", "login").URL, tt.key, tt.change)
			err := v.Verify(t.Context(), tt.token, addr)
			if !errors.Is(err, tt.want) {
				t.Fatalf("%v; want %v", err, tt.want)
			}
			if tt.want == nil {
				if err := v.Verify(t.Context(), tt.token, addr); !errors.Is(err, ErrRejected) {
					t.Errorf("a second time: %v", err)
				}
			}
		})
	}
}

func TestResponses(t *testing.T) {
	tests := map[string]struct {
		status int
		body   string
		want   error
	}{
		"no JSON":            {200, "<html>", service.ErrUnavailable},
		"an error":           {500, `{"success":true}`, service.ErrUnavailable},
		"empty":              {200, "", service.ErrUnavailable},
		"no success":         {200, "{}", ErrRejected},
		"success as text":    {200, `{"success":"true"}`, service.ErrUnavailable},
		"another case":       {200, `{"SUCCESS":false}`, ErrRejected},
		"errors and success": {200, `{"success":true,"error-codes":["invalid-input-secret"]}`, service.ErrUnavailable},
		"too long":           {200, `{"success":true,"x":"` + strings.Repeat("x", maxResponse) + `"}`, service.ErrUnavailable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.body))
			}))
			defer s.Close()
			if err := verifier(t, s.URL, "s3cret", nil).Verify(t.Context(), "good", netip.Addr{}); !errors.Is(err, tt.want) {
				t.Errorf("%v; want %v", err, tt.want)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	client := service.NewClient(service.Config{})
	tests := map[string]Config{
		"no URL":           {Secret: fixed("x"), Client: client},
		"another scheme":   {URL: "ftp://example.com/", Secret: fixed("x"), Client: client},
		"with credentials": {URL: "https://u:p@example.com/", Secret: fixed("x"), Client: client},
		"no secret":        {URL: "https://example.com/", Client: client},
		"no client":        {URL: "https://example.com/", Secret: fixed("x")},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := New(c); err == nil {
				t.Error("New accepted it")
			}
		})
	}
}
