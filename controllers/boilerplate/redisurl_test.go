package boilerplate

import (
	"reflect"
	"strings"
	"testing"

	"github.com/posterndev/postern/api/check"
)

func TestParseRedisURL(t *testing.T) {
	tests := map[string]struct {
		url     string
		want    Redis
		wantErr string
	}{
		"host":                   {url: "redis://redis", want: Redis{Mode: "Standalone", Addresses: []string{"redis:6379"}}},
		"all parts":              {url: "rediss://app:p%40ss@r.example:6380/2", want: Redis{Mode: "Standalone", Addresses: []string{"r.example:6380"}, Username: "app", Password: "p@ss", Database: 2, TLS: true}},
		"no user":                {url: "redis://:secret@r:1/0", want: Redis{Mode: "Standalone", Addresses: []string{"r:1"}, Password: "secret"}},
		"only a password":        {url: "redis://secret@r", want: Redis{Mode: "Standalone", Addresses: []string{"r:6379"}, Password: "secret"}},
		"a password with @ or /": {url: "redis://:a/b@c@r", want: Redis{Mode: "Standalone", Addresses: []string{"r:6379"}, Password: "a/b@c"}},
		"IPv6":                   {url: "redis://[::1]:7000", want: Redis{Mode: "Standalone", Addresses: []string{"[::1]:7000"}}},
		"parameters":             {url: "redis://r?db=3&ssl=true&ssl_cert_reqs=none&max=5", want: Redis{Mode: "Standalone", Addresses: []string{"r:6379"}, Database: 3, TLS: true, Dropped: []string{"max", "ssl_cert_reqs"}}},
		"Sentinels":              {url: "redis+sentinel://:pw@a,b:26380/mymaster/1", want: Redis{Mode: "Sentinel", Addresses: []string{"a:26379", "b:26380"}, MasterName: "mymaster", Password: "pw", Database: 1}},
		"Sentinels of lettuce":   {url: "redis-sentinel://pw@a,b/3#m", want: Redis{Mode: "Sentinel", Addresses: []string{"a:26379", "b:26379"}, MasterName: "m", Password: "pw", Database: 3}},
		"master as a parameter":  {url: "redis-sentinel://a/3?sentinelMasterId=m", want: Redis{Mode: "Sentinel", Addresses: []string{"a:26379"}, MasterName: "m", Database: 3}},
		"Cluster":                {url: "rediss+cluster://a:1,b:2", want: Redis{Mode: "Cluster", Addresses: []string{"a:1", "b:2"}, TLS: true}},
		"several hosts":          {url: "redis://a,b", wantErr: "redis+sentinel:// or redis+cluster://"},
		"no master":              {url: "redis+sentinel://a,b", wantErr: "name of the master"},
		"database of a Cluster":  {url: "redis+cluster://a/1", wantErr: "database 0 only"},
		"a socket":               {url: "unix:///run/redis.sock", wantErr: "socket"},
		"another scheme":         {url: "amqp://hunter2@r", wantErr: "scheme"},
		"no scheme":              {url: "hunter2@r:6379", wantErr: "not a URL"},
		"no host":                {url: "redis://:hunter2@/1", wantErr: "host is missing"},
		"a port out of range":    {url: "redis://:hunter2@r:99999", wantErr: "host:port"},
		"another database":       {url: "redis://:hunter2@r/hunter2", wantErr: "database"},
		"an escape":              {url: "redis://:hunter2%zz@r", wantErr: "percent-encoded"},
		"a user alone":           {url: "redis://app:@r", wantErr: "user without a password"},
		"a host with quotes":     {url: `redis://a"b:1`, wantErr: "host:port"},
		"a long URL":             {url: "redis://" + strings.Repeat("a", 5000), wantErr: "4096"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := ParseRedisURL(tt.url)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("error %v, want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(*got, tt.want) {
				t.Errorf("got %+v, %v; want %+v", got, err, tt.want)
			}
		})
	}
}

// FuzzParseRedisURL: what is accepted fits into a class, and an error has no password.
func FuzzParseRedisURL(f *testing.F) {
	for _, seed := range []string{"rediss://app:p%40ss@r.example:6380/2?ssl_cert_reqs=none", "redis+sentinel://:pw@a,b:26380/m/1", "redis+cluster://a,b", "redis://[::1]:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRedisURL(text)
		if err != nil {
			return
		}
		if len(r.Addresses) == 0 || len(r.Addresses) > maxRedisAddresses || r.Mode == "Standalone" && len(r.Addresses) != 1 || (r.Mode == "Sentinel") != (r.MasterName != "") {
			t.Errorf("%q gives %+v", text, r)
		}
		for _, address := range r.Addresses {
			if check.RedisAddress(address) != nil {
				t.Errorf("%q gives the address %q", text, address)
			}
		}
	})
}
