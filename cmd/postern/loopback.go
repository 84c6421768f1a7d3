package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// revocationsPath is the path of a sidecar's loopback API at which tokens are revoked.
const revocationsPath = "/v1/revocations"

// loopbackRequest is what the loopback API takes.
type loopbackRequest struct {
	Issuer       string `json:"issuer,omitempty"`
	TokenID      string `json:"token_id,omitempty"`
	SessionID    string `json:"session_id,omitempty"`
	Subject      string `json:"subject,omitempty"`
	IssuedBefore string `json:"issued_before,omitempty"`
	KeyID        string `json:"key_id,omitempty"`
	Expires      string `json:"expires,omitempty"`
}

// request says no time that nobody said: the sidecar knows how long tokens last, and its clock, not this machine's, is the one
// that dates them.
func (t *target) request() loopbackRequest {
	return loopbackRequest{
		Issuer: t.issuer, TokenID: t.tokenID, SessionID: t.sessionID, Subject: t.subject, KeyID: t.keyID,
		IssuedBefore: formatTime(t.issuedBefore), Expires: formatTime(t.expires),
	}
}

// formatTime is empty for no time.
func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// loopbackTimeout bounds one request, and maxAnswer an answer, in bytes.
const (
	loopbackTimeout = 10 * time.Second
	maxAnswer       = 64 << 10
)

// revokeAt asks the loopback API at a URL to revoke, and returns how much it did.
func revokeAt(ctx context.Context, server string, request loopbackRequest) (int, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return 0, fmt.Errorf("--server %q is not a URL like http://127.0.0.1:15992", server)
	}
	body, err := json.Marshal(request)
	if err != nil {
		return 0, fmt.Errorf("encoding request: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, loopbackTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.JoinPath(revocationsPath).String(), bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("asking the sidecar: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Postern-Request", "true")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, fmt.Errorf("asking the sidecar: %w", err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return 0, fmt.Errorf("asking the sidecar: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("the sidecar answers %s%s", answer.Status, detailOf(content))
	}
	var done struct {
		Revoked *int `json:"revoked"`
	}
	if err := json.Unmarshal(content, &done); err != nil || done.Revoked == nil {
		return 0, fmt.Errorf("what answers at %s is not a sidecar's loopback API", server)
	}
	return *done.Revoked, nil
}

// detailOf returns what a problem (RFC 9457) says, for the end of a sentence.
func detailOf(content []byte) string {
	var problem struct {
		Detail string `json:"detail"`
	}
	if json.Unmarshal(content, &problem) != nil || problem.Detail == "" {
		return ""
	}
	return ": " + strings.TrimSuffix(problem.Detail, ".")
}
