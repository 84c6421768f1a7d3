package transport

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/login/token"
)

// NoStore keeps a response out of caches (RFC 6749 §5.1). It removes the fields that take precedence over Cache-Control at a CDN
// (RFC 9213) or in nginx, because these may be shared caches in front of the sidecar.
func NoStore(h http.Header) {
	for name := range h {
		if strings.HasSuffix(name, "Cdn-Cache-Control") || name == "Surrogate-Control" || name == "X-Accel-Expires" || name == "Edge-Control" {
			delete(h, name)
		}
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
}

// TokenResponse returns the body of RFC 6749 §5.1.
func TokenResponse(t token.Tokens) map[string]any {
	return map[string]any{
		"access_token": t.Token, "token_type": "Bearer", "expires_in": Seconds(t.Expires.Sub(t.Issued)),
		"refresh_token": string(t.Refresh.Reveal()),
	}
}

// Seconds returns d in whole seconds, rounded down so that no client relies on an expired token.
func Seconds(d time.Duration) int64 { return int64(math.Floor(d.Seconds())) }

// WriteJSON responds with v, which caches must not store.
func WriteJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding response: %w", err)
	}
	h := w.Header()
	NoStore(h)
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a write error means that the client has disconnected
	return nil
}

// RetryAfter is the value of Retry-After, in seconds, while the store or the key is unavailable.
const RetryAfter = "5"

// Unavailable returns the refusal for an unavailable store or key.
func Unavailable(err error) *httperr.Error {
	e := &httperr.Error{Status: http.StatusServiceUnavailable, Code: "tokens-unavailable", Cause: err, Detail: "Logins are temporarily unavailable."}
	return e.With("Retry-After", RetryAfter)
}
