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

	"github.com/posterndev/postern/api/compiled"
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

// longest is the longest that a session, and a token of it, may last under any policy, and the clocks' skew.
const longest = 8760*time.Hour + compiled.AssumedTokenLifetime + time.Hour

// request says the times that the operator would fill in: the sidecar's store keeps nothing without an end.
func (t *target) request(now time.Time) loopbackRequest {
	r := loopbackRequest{Issuer: t.issuer, TokenID: t.tokenID, SessionID: t.sessionID, Subject: t.subject, KeyID: t.keyID}
	before, expires := t.issuedBefore, t.expires
	if before.IsZero() {
		before = now
	}
	if expires.IsZero() {
		expires = now.Add(longest)
		if t.tokenID != "" {
			expires = now.Add(compiled.AssumedTokenLifetime + time.Hour)
		}
	}
	if t.subject != "" {
		// With its fraction: a token that was issued in this very second, but before, is among them.
		r.IssuedBefore = before.UTC().Format(time.RFC3339Nano)
	}
	r.Expires = expires.UTC().Format(time.RFC3339)
	return r
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
