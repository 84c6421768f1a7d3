package token

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
)

// noStore keeps answers out of caches, RFC 6749 §5.1.
func noStore(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
}

// answer is the body of RFC 6749 §5.1.
func answer(t Tokens) map[string]any {
	return map[string]any{
		"access_token": t.Token, "token_type": "Bearer", "expires_in": seconds(t.Expires.Sub(t.Issued)),
		"refresh_token": string(t.Refresh.Reveal()),
	}
}

// seconds rounds down, so that nobody relies on a token that is gone.
func seconds(d time.Duration) int64 { return int64(math.Floor(d.Seconds())) }

// writeJSON answers with v, which a cache must not keep.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding answer: %w", err)
	}
	h := w.Header()
	noStore(h)
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client has gone: nobody is left to tell
	return nil
}

// oauthError is the body of RFC 6749 §5.2.
type oauthError struct {
	Error       string `json:"error"`
	Description string `json:"error_description,omitempty"`
}
