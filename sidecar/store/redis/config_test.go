package redis

import (
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/keys/secret"
)

func TestConfigIsChecked(t *testing.T) {
	one := []string{"127.0.0.1:6379"}
	tests := map[string]struct {
		config  Config
		wantErr string
	}{
		"no mode":                        {config: Config{Addresses: one}, wantErr: `mode "" is not`},
		"unknown mode":                   {config: Config{Mode: "Ring", Addresses: one}, wantErr: `mode "Ring" is not`},
		"no address":                     {config: Config{Mode: Standalone}, wantErr: "no address"},
		"two standalone addresses":       {config: Config{Mode: Standalone, Addresses: []string{"a:1", "b:1"}}, wantErr: "exactly one address, not 2"},
		"address without a port":         {config: Config{Mode: Cluster, Addresses: []string{"redis"}}, wantErr: `"redis" is not host:port`},
		"address without a host":         {config: Config{Mode: Cluster, Addresses: []string{":6379"}}, wantErr: `":6379" is not host:port`},
		"sentinel without a master":      {config: Config{Mode: Sentinel, Addresses: one}, wantErr: "master name"},
		"a master without sentinel":      {config: Config{Mode: Standalone, Addresses: one, MasterName: "m"}, wantErr: "master name"},
		"sentinel password in a cluster": {config: Config{Mode: Cluster, Addresses: one, SentinelPassword: secret.File("x")}, wantErr: "sentinel password"},
		"a cluster's second database":    {config: Config{Mode: Cluster, Addresses: one, Database: 1}, wantErr: "only database 0"},
		"a negative database":            {config: Config{Mode: Standalone, Addresses: one, Database: -1}, wantErr: "negative"},
		"user without a password":        {config: Config{Mode: Standalone, Addresses: one, Username: "ada"}, wantErr: `"ada" has no password`},
		"timeout too short":              {config: Config{Mode: Standalone, Addresses: one, Timeout: time.Microsecond}, wantErr: "timeout"},
		"timeout too long":               {config: Config{Mode: Standalone, Addresses: one, Timeout: time.Minute}, wantErr: "timeout"},
		"CA bundle without certificate":  {config: Config{Mode: Standalone, Addresses: one, TLS: &TLSConfig{CABundle: []byte("x")}}, wantErr: "no PEM certificate"},
		"client certificate, no key":     {config: Config{Mode: Standalone, Addresses: one, TLS: &TLSConfig{Certificate: secret.File("x")}}, wantErr: "client certificate requires its key"},
		"client key, no certificate":     {config: Config{Mode: Standalone, Addresses: one, TLS: &TLSConfig{Key: secret.File("x")}}, wantErr: "client certificate requires its key"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			conn, err := Open(tt.config, newMetrics(t), discard())
			if err == nil {
				_ = conn.Close()
			}
			if err == nil || !strings.HasPrefix(err.Error(), "opening redis: ") || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("Open = %v; want an error with %q", err, tt.wantErr)
			}
		})
	}
}
