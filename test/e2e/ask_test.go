//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// response is the response to a request.
type response struct {
	status  int
	header  http.Header
	trailer http.Header
	body    string
}

// seen is the sample app's description of the request that it received.
type seen struct {
	Method    string      `json:"method"`
	Path      string      `json:"path"`
	Headers   http.Header `json:"headers"`
	BodyBytes int64       `json:"bodyBytes"`
	TLS       bool        `json:"tls"`
}

// seen decodes the sample app's response.
func (a response) seen(t *testing.T) seen {
	t.Helper()
	var s seen
	if err := json.Unmarshal([]byte(a.body), &s); err != nil {
		t.Fatalf("decoding the sample app's response: %v: status %d, %.300q", err, a.status, a.body)
	}
	return s
}

// newHTTPClient returns a client that registers the secrets of requests and responses. It does not follow redirects and does not decompress.
func newHTTPClient(keepAlive bool) *http.Client {
	return &http.Client{
		Transport:     watched{&http.Transport{DisableCompression: true, DisableKeepAlives: !keepAlive, MaxIdleConnsPerHost: 64}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       30 * time.Second,
	}
}

// send sends one request on its own connection. fields are request headers as "Name: value".
func send(t *testing.T, method, url, body string, fields ...string) (response, error) {
	t.Helper()
	return sendBy(t, newHTTPClient(false), method, url, body, fields...)
}

func sendBy(t *testing.T, by *http.Client, method, url, body string, fields ...string) (response, error) {
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		return response{}, err
	}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		if name == "Host" {
			request.Host = value
			continue
		}
		request.Header.Add(name, value)
	}
	resp, err := by.Do(request)
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return response{}, fmt.Errorf("reading response: %w", err)
	}
	return response{status: resp.StatusCode, header: resp.Header, trailer: resp.Trailer, body: string(text)}, nil
}

// get is send without a body. It fails the test if there is no response.
func get(t *testing.T, url string, fields ...string) response {
	t.Helper()
	return do(t, http.MethodGet, url, "", fields...)
}

func do(t *testing.T, method, url, body string, fields ...string) response {
	t.Helper()
	a, err := send(t, method, url, body, fields...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return a
}

// wantStatus fails the test if the response has another status.
func (a response) wantStatus(t *testing.T, want int) response {
	t.Helper()
	if a.status != want {
		t.Errorf("status %d, want %d: %v %.300q", a.status, want, a.header, a.body)
	}
	return a
}

// eventuallyStatus repeats a request until it gets the status.
func eventuallyStatus(t *testing.T, want int, url string, fields ...string) response {
	t.Helper()
	var got response
	eventually(t, fmt.Sprintf("waiting for %s to return status %d", url, want), func() (err error) {
		if got, err = send(t, http.MethodGet, url, "", fields...); err == nil && got.status != want {
			err = fmt.Errorf("status %d: %.300q", got.status, got.body)
		}
		return err
	})
	return got
}

// problemIs reports whether a response is the problem with that code.
func problemIs(a response, code string) bool {
	return strings.Contains(a.body, `"type":"https://postern.dev/problems/`+code+`"`)
}
