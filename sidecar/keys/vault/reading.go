package vault

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/posterndev/postern/sidecar/keys/secret"
)

// ExpiryMetadata is the key in a secret's custom metadata with the expiry of its value (RFC 3339).
const ExpiryMetadata = "postern-expires"

// errNotFound reports that the secret or version does not exist or was deleted.
var errNotFound = errors.New("no such secret in Vault, or the version was deleted")

// content is one version of a secret.
type content struct {
	values  map[string]secret.Value
	version int
	created time.Time
	// ends is the value's own expiry: the time at which Vault deletes the version or that of ExpiryMetadata, whichever is earlier;
	// zero if there is none.
	ends time.Time
	// confirmed is when Vault last returned this version.
	confirmed time.Time
}

// parseContent parses Vault's response for a version. The error for a deleted or missing one is errNotFound.
func parseContent(s *api.Secret, now time.Time) (*content, error) {
	if s == nil || s.Data == nil {
		return nil, errNotFound
	}
	meta, ok := s.Data["metadata"].(map[string]any)
	if !ok {
		return nil, errors.New("the engine is not KV version 2")
	}
	c := &content{confirmed: now, values: map[string]secret.Value{}}
	var err error
	if c.version, err = ParseInt(meta["version"]); err != nil || c.version < 1 {
		return nil, errors.New("the response has no version")
	}
	if c.created, err = ParseTime(meta["created_time"]); err != nil {
		return nil, fmt.Errorf("reading the version's time: %w", err)
	}
	if c.ends, err = expiry(meta); err != nil {
		return nil, err
	}
	data, ok := s.Data["data"].(map[string]any)
	if !ok || meta["destroyed"] == true {
		return nil, errNotFound
	}
	for key, v := range data {
		if text, ok := v.(string); ok {
			c.values[key] = secret.New([]byte(text))
		}
	}
	return c, nil
}

// expiry returns the earlier of a version's deletion_time and ExpiryMetadata.
func expiry(meta map[string]any) (time.Time, error) {
	ends, err := ParseTime(meta["deletion_time"])
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the version's time of deletion: %w", err)
	}
	custom, _ := meta["custom_metadata"].(map[string]any)
	stated, err := ParseTime(custom[ExpiryMetadata])
	if err != nil {
		return time.Time{}, fmt.Errorf("reading custom metadata %s: %w", ExpiryMetadata, err)
	}
	if !stated.IsZero() && (ends.IsZero() || stated.Before(ends)) {
		return stated, nil
	}
	return ends, nil
}

// ParseInt parses a number in a response of Vault.
func ParseInt(v any) (int, error) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, errors.New("not a number")
	}
	return strconv.Atoi(n.String())
}

// ParseTime parses an RFC 3339 time in a response of Vault. It returns the zero time for nil and "".
func ParseTime(v any) (time.Time, error) {
	if v == nil || v == "" {
		return time.Time{}, nil
	}
	text, ok := v.(string)
	if !ok || len(text) > 64 {
		return time.Time{}, errors.New("it is not a time")
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, errors.New("it is not a time such as 2006-01-02T15:04:05Z")
	}
	return t, nil
}

// same reports whether two contents are of the same version.
func (c *content) same(other *content) bool {
	return c != nil && other != nil && c.version == other.version && c.created.Equal(other.created)
}

// expires returns when the value expires.
func (c *content) expires(maxStale time.Duration) time.Time {
	stale := c.confirmed.Add(maxStale)
	if !c.ends.IsZero() && c.ends.Before(stale) {
		return c.ends
	}
	return stale
}

// value returns the value of key.
func (c *content) value(key string) (secret.Value, error) {
	v, ok := c.values[key]
	switch {
	case !ok:
		return secret.Value{}, fmt.Errorf("it has no string under the key %.64q", key)
	case v.IsZero():
		return secret.Value{}, fmt.Errorf("the key %.64q is empty", key)
	}
	return v, nil
}
