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

// loopbackTimeout bounds one request. maxResponse bounds a response, in bytes: the 256 sessions of a user fit, with 4 KiB of
// claims each.
const (
	loopbackTimeout = 10 * time.Second
	maxResponse     = 4 << 20
)

// loopbackAPI is a client of a sidecar's loopback API.
type loopbackAPI struct {
	base *url.URL
	// performedBy is who acts, for the audit trail; empty if it is not known.
	performedBy string
}

func newLoopbackAPI(server string) (*loopbackAPI, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("--server %q is not a URL like http://127.0.0.1:15992", server)
	}
	return &loopbackAPI{base: u}, nil
}

// call sends a request with body as JSON, or without a body if body is nil. It decodes the response into v. If v is nil, the
// response must be 204.
func (a *loopbackAPI) call(ctx context.Context, method, path string, body, v any) error {
	var encoded io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encoding request: %w", err)
		}
		encoded = bytes.NewReader(b)
	}
	ctx, cancel := context.WithTimeout(ctx, loopbackTimeout)
	defer cancel()
	target, err := a.base.Parse(strings.TrimSuffix(a.base.Path, "/") + path)
	if err != nil {
		return fmt.Errorf("calling the sidecar: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, method, target.String(), encoded)
	if err != nil {
		return fmt.Errorf("calling the sidecar: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Postern-Request", "true")
	if a.performedBy != "" {
		r.Header.Set("Postern-Performed-By", a.performedBy)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("calling the sidecar: %w", err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, maxResponse))
	if err != nil {
		return fmt.Errorf("calling the sidecar: %w", err)
	}
	switch {
	case response.StatusCode >= http.StatusMultipleChoices:
		return fmt.Errorf("the sidecar responded with %s%s", response.Status, detailOf(content))
	case v == nil && response.StatusCode == http.StatusNoContent:
		return nil
	case v == nil || json.Unmarshal(content, v) != nil:
		return fmt.Errorf("the server at %s is not a sidecar's loopback API", a.base)
	}
	return nil
}

// detailOf returns the detail of a problem document (RFC 9457), as the end of a sentence.
func detailOf(content []byte) string {
	var problem struct {
		Detail string `json:"detail"`
	}
	if json.Unmarshal(content, &problem) != nil || problem.Detail == "" {
		return ""
	}
	return ": " + strings.TrimSuffix(problem.Detail, ".")
}
