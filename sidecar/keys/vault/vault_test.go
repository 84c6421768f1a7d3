package vault

import (
	"strings"
	"testing"
	"time"
)

func TestConfigRefused(t *testing.T) {
	t.Parallel()
	good := Config{Address: "https://vault", Auth: TokenFile("/token")}
	tests := map[string]struct {
		change  func(*Config)
		wantErr string
	}{
		"good":                {func(*Config) {}, ""},
		"loopback":            {func(c *Config) { c.Address = "http://[::1]:8200" }, ""},
		"plain HTTP":          {func(c *Config) { c.Address = "http://vault:8200" }, "https://"},
		"password in address": {func(c *Config) { c.Address = "https://u:s3cret@vault" }, "user name"},
		"no URL":              {func(c *Config) { c.Address = "https://s3cret\x00" }, "not a URL"},
		"no host":             {func(c *Config) { c.Address = "https://" }, "no host"},
		"socket":              {func(c *Config) { c.Address = "unix://x/vault.sock" }, "https://"},
		"CA not PEM":          {func(c *Config) { c.CABundle = []byte("x") }, "PEM"},
		"no login":            {func(c *Config) { c.Auth = nil }, "auth method"},
		"no role":             {func(c *Config) { c.Auth = Kubernetes{TokenFile: "/t"} }, "role"},
		"mount with dots":     {func(c *Config) { c.Auth = Kubernetes{Mount: "../sys", Role: "r", TokenFile: "/t"} }, "is . or .."},
		"no role ID":          {func(c *Config) { c.Auth = AppRole{} }, "role ID"},
		"no path":             {func(c *Config) { c.Auth = TokenFile("") }, "path"},
		"polled too often":    {func(c *Config) { c.PollInterval = time.Millisecond }, "poll interval"},
		"negative duration":   {func(c *Config) { c.MaxStale = -1 }, "negative"},
	}
	for name, tt := range tests {
		cfg := good
		tt.change(&cfg)
		c, err := New(cfg)
		if err == nil {
			c.Close()
		}
		if (err == nil) != (tt.wantErr == "") || err != nil && (!strings.Contains(err.Error(), tt.wantErr) || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("%s: error = %v; want one with %q", name, err, tt.wantErr)
		}
	}
}
