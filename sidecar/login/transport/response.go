package transport

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/login/token"
)

// NoStore keeps answers out of caches, RFC 6749 §5.1.
func NoStore(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
}

// TokenResponse is the body of RFC 6749 §5.1.
func TokenResponse(t token.Tokens) map[string]any {
	return map[string]any{
		"access_token": t.Token, "token_type": "Bearer", "expires_in": Seconds(t.Expires.Sub(t.Issued)),
		"refresh_token": string(t.Refresh.Reveal()),
	}
}

// Seconds rounds down, so that nobody relies on a token that is gone.
func Seconds(d time.Duration) int64 { return int64(math.Floor(d.Seconds())) }

// WriteJSON answers with v, which a cache must not keep.
func WriteJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding answer: %w", err)
	}
	h := w.Header()
	NoStore(h)
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client has gone: nobody is left to tell
	return nil
}

// RetryAfter is how long a client waits for the store or the key, in seconds.
const RetryAfter = "5"

// Unavailable is the refusal where the store or the key cannot be reached.
func Unavailable(err error) *httperr.Error {
	e := &httperr.Error{Status: http.StatusServiceUnavailable, Code: "tokens-unavailable", Cause: err, Detail: "Logins cannot be handled at present."}
	return e.With("Retry-After", RetryAfter)
}
