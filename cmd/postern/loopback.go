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

// loopbackTimeout bounds one request, and maxAnswer an answer, in bytes: a person's 256 sessions fit.
const (
	loopbackTimeout = 10 * time.Second
	maxAnswer       = 1 << 20
)

// loopbackAPI is a sidecar's loopback API at a URL.
type loopbackAPI struct{ base *url.URL }

func newLoopbackAPI(server string) (*loopbackAPI, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("--server %q is not a URL like http://127.0.0.1:15992", server)
	}
	return &loopbackAPI{u}, nil
}

// ask sends body as JSON, or nothing where it is nil, and decodes the answer into v, or takes none where that is nil.
func (a *loopbackAPI) ask(ctx context.Context, method, path string, body, v any) error {
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
		return fmt.Errorf("asking the sidecar: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, method, target.String(), encoded)
	if err != nil {
		return fmt.Errorf("asking the sidecar: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Postern-Request", "true")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("asking the sidecar: %w", err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("asking the sidecar: %w", err)
	}
	switch {
	case answer.StatusCode >= http.StatusMultipleChoices:
		return fmt.Errorf("the sidecar answers %s%s", answer.Status, detailOf(content))
	case v == nil && answer.StatusCode == http.StatusNoContent:
		return nil
	case v == nil || json.Unmarshal(content, v) != nil:
		return fmt.Errorf("what answers at %s is not a sidecar's loopback API", a.base)
	}
	return nil
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
