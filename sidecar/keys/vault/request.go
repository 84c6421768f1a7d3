package vault

import (
	"context"

	"github.com/hashicorp/vault/api"
)

// Read reads path with one request. It is for adapters of other secrets engines. If the path does not exist, the error has the state
// Refused and the detail absent. Errors are of type *Error, or the context's.
func (c *Client) Read(ctx context.Context, path, absent string) (map[string]any, error) {
	s, err := c.do(ctx, path, func(ctx context.Context, client *api.Client) (*api.Secret, error) {
		s, err := client.Logical().ReadWithDataWithContext(ctx, path, nil)
		if err == nil && s == nil { // 404 without an error: somebody must create it, and the status should say so
			err = &Error{State: Refused, Target: path, Detail: absent}
		}
		return s, err
	})
	if err != nil {
		return nil, err
	}
	return s.Data, nil
}

// Write writes body to path with one request. It is for adapters of other secrets engines. It returns nil if the response has no
// data. Errors are of type *Error, or the context's.
func (c *Client) Write(ctx context.Context, path string, body map[string]any) (map[string]any, error) {
	s, err := c.do(ctx, path, func(ctx context.Context, client *api.Client) (*api.Secret, error) {
		return client.Logical().WriteWithContext(ctx, path, body)
	})
	if err != nil || s == nil {
		return nil, err
	}
	return s.Data, nil
}

// Forget removes the failures of paths that are no longer used from the client's state.
func (c *Client) Forget(paths ...string) {
	for _, path := range paths {
		c.health.forget(path)
	}
}
