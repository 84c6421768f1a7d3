package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// newClient returns a client that keeps up to connections connections to each host, and opens no more.
func newClient(connections int) *http.Client {
	return &http.Client{
		Timeout:   waitLimit,
		Transport: &http.Transport{MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections, DisableCompression: true},
	}
}

// credentials are the tokens of a login, or an API key.
type credentials struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	APIKey  string `json:"-"`
}

// addTo adds the access token or the key to a request.
func (c credentials) addTo(r *http.Request) {
	if c.APIKey != "" {
		r.Header.Set("X-API-Key", c.APIKey)
		return
	}
	r.Header.Set("Authorization", "Bearer "+c.Access)
}

// names are the values by which a token can be revoked.
type names struct {
	TokenID string `json:"jti"`
	Session string `json:"sid"`
	Subject string `json:"sub"`
}

// names decodes the token, without verification, because it is our own.
func (c credentials) names() (n names, err error) {
	parts := strings.Split(c.Access, ".")
	if len(parts) != 3 {
		return n, fmt.Errorf("the access token has %d parts", len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return n, err
	}
	return n, json.Unmarshal(payload, &n)
}

// ask sends a GET with credentials to the app behind base, and returns the status. The app's response is short, so that copying it
// does not dominate the result.
func ask(ctx context.Context, client *http.Client, base string, by credentials) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/healthz", nil)
	if err != nil {
		return 0, err
	}
	by.addTo(request)
	request.Header.Set("X-Tenant", tenant)
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

// post sends body as JSON and decodes the response into v, unless v is nil. A status other than want is an error.
func post(ctx context.Context, client *http.Client, url, token string, body any, want int, v any) error {
	var encoded []byte
	if body != nil {
		var err error
		if encoded, err = json.Marshal(body); err != nil {
			return err
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(encoded))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Postern-Request", "true") // for the loopback API
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return err
	}
	if response.StatusCode != want {
		return fmt.Errorf("POST %s: %s: %s", url, response.Status, content)
	}
	if v == nil {
		return nil
	}
	return json.Unmarshal(content, v)
}

func login(ctx context.Context, client *http.Client, base, user string) (c credentials, err error) {
	err = post(ctx, client, base+"/login", "", map[string]string{"user": user, "password": "demo"}, http.StatusOK, &c)
	return c, err
}

func refresh(ctx context.Context, client *http.Client, base, token string) (c credentials, err error) {
	err = post(ctx, client, base+"/auth/refresh", "", map[string]string{"refresh_token": token}, http.StatusOK, &c)
	return c, err
}
