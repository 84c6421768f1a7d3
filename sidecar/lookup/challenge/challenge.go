// Package challenge verifies that a client solved a challenge, such as a CAPTCHA or a proof of work, by asking the service that gave it:
// a POST of the secret and the client's token, as Turnstile, hCaptcha and reCAPTCHA define it (siteverify).
package challenge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/lookup/service"
	"github.com/posterndev/postern/sidecar/span"
)

// Errors of Verify, in addition to service.ErrUnavailable.
var (
	// ErrMissing reports that the client sent no token.
	ErrMissing = errors.New("verifying challenge: there is no token")
	// ErrRejected reports a token that does not prove a solved challenge.
	ErrRejected = errors.New("verifying challenge: the token is not accepted")
)

// Bounds in bytes. Turnstile's tokens have up to 2048 characters, hCaptcha's and reCAPTCHA's are longer.
const (
	maxToken    = 8 << 10
	maxResponse = 64 << 10
)

// Config configures a Verifier.
type Config struct {
	// URL is the service's address for verification, such as https://challenges.cloudflare.com/turnstile/v0/siteverify.
	URL string
	// Secret is the site's secret at the service.
	Secret secret.Source
	// Hostnames are the sites whose challenges count; empty for any. A token that was solved on another page is rejected.
	Hostnames []string
	// Action is the action that the page names; empty for any.
	Action string
	// SendAddress tells the service the client's address.
	SendAddress bool
	Client      *service.Client
}

// Verifier asks one service. It is safe for concurrent use.
type Verifier struct{ cfg Config }

// New returns a Verifier.
func New(c Config) (*Verifier, error) {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil:
		return nil, errors.New("building challenge verifier: the URL is not a valid HTTP address without credentials")
	case c.Secret == nil || c.Client == nil:
		return nil, errors.New("building challenge verifier: a secret and a client are required")
	}
	return &Verifier{cfg: c}, nil
}

// verdict is the service's response. Unknown members are ignored.
type verdict struct {
	Success  bool   `json:"success"`
	Hostname string `json:"hostname"`
	Action   string `json:"action"`
	// Errors are codes such as timeout-or-duplicate or invalid-input-secret.
	Errors []string `json:"error-codes"`
}

// Verify returns nil if the service confirms the token. The service accepts each token once. Errors match ErrMissing, ErrRejected or
// service.ErrUnavailable, and contain neither the token nor the secret.
func (v *Verifier) Verify(ctx context.Context, token string, client netip.Addr) error {
	switch {
	case token == "":
		return ErrMissing
	case len(token) > maxToken:
		return ErrRejected
	}
	r, err := v.request(ctx, token, client)
	if err != nil {
		return fmt.Errorf("verifying challenge: %w: %w", service.ErrUnavailable, err)
	}
	_, call := span.Start(ctx, "challenge")
	body, err := v.cfg.Client.Do(r, maxResponse)
	call.End(err)
	if err != nil {
		return fmt.Errorf("verifying challenge: %w", err)
	}
	var got verdict
	if err := json.Unmarshal(body, &got); err != nil {
		return fmt.Errorf("verifying challenge: %w: its response is not JSON", service.ErrUnavailable)
	}
	return v.judge(got)
}

func (v *Verifier) request(ctx context.Context, token string, client netip.Addr) (*http.Request, error) {
	key, err := v.cfg.Secret.Read(ctx)
	if err != nil {
		return nil, err
	}
	form := url.Values{"secret": {strings.TrimSpace(string(key.Reveal()))}, "response": {token}}
	if v.cfg.SendAddress && client.IsValid() {
		form.Set("remoteip", client.String())
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, v.cfg.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, errors.New("its URL is not valid")
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	return r, nil
}

func (v *Verifier) judge(got verdict) error {
	switch {
	case slices.ContainsFunc(got.Errors, isConfiguration):
		// The secret is wrong: every client would be rejected, and nobody would look for the cause here.
		return fmt.Errorf("verifying challenge: %w: it does not accept the secret", service.ErrUnavailable)
	case !got.Success:
		return ErrRejected
	case len(v.cfg.Hostnames) > 0 && !slices.ContainsFunc(v.cfg.Hostnames, func(h string) bool { return strings.EqualFold(h, got.Hostname) }):
		return ErrRejected
	case v.cfg.Action != "" && v.cfg.Action != got.Action:
		return ErrRejected
	}
	return nil
}

// isConfiguration reports whether an error code blames the caller's configuration, and not the token.
func isConfiguration(code string) bool {
	switch code {
	case "missing-input-secret", "invalid-input-secret", "sitekey-secret-mismatch", "not-using-dummy-secret":
		return true
	}
	return false
}
