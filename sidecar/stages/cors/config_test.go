package cors

import (
	"strings"
	"testing"
	"time"
)

func TestNewRefuses(t *testing.T) {
	ok := []string{"https://a.example"}
	tests := map[string]struct {
		config  Config
		wantErr string
	}{
		"no origins":             {wantErr: "spec.cors.allowOrigins: the list is empty"},
		"null":                   {config: Config{AllowOrigins: []string{"null"}}, wantErr: "sandboxed"},
		"wildcard of a registry": {config: Config{AllowOrigins: []string{"https://*.com"}}, wantErr: "two labels"},
		"wildcard in the middle": {config: Config{AllowOrigins: []string{"https://a.*.example.com"}}, wantErr: "first label"},
		"wildcard of a part":     {config: Config{AllowOrigins: []string{"https://pr-*.example.com"}}, wantErr: "first label"},
		"wildcard of an address": {config: Config{AllowOrigins: []string{"https://*.0.0.1"}}, wantErr: "this is an address"},
		"* with credentials":     {config: Config{AllowOrigins: []string{"*"}, AllowCredentials: true}, wantErr: "single origin"},
		"* with others":          {config: Config{AllowOrigins: []string{"*", "https://a"}}, wantErr: "single origin"},
		"host alone":             {config: Config{AllowOrigins: []string{"app.example.com"}}, wantErr: "scheme://host"},
		"scheme alone":           {config: Config{AllowOrigins: []string{"https://"}}, wantErr: "scheme://host"},
		"trailing slash":         {config: Config{AllowOrigins: []string{"https://a.example/"}}, wantErr: "no path"},
		"path":                   {config: Config{AllowOrigins: []string{"https://a.example/x"}}, wantErr: "no path"},
		"query":                  {config: Config{AllowOrigins: []string{"https://a.example?x"}}, wantErr: "no path"},
		"user":                   {config: Config{AllowOrigins: []string{"https://u@a.example"}}, wantErr: "no path"},
		"international name":     {config: Config{AllowOrigins: []string{"https://é.example"}}, wantErr: "xn--"},
		"two in one":             {config: Config{AllowOrigins: []string{"https://a.example,https://b.example"}}, wantErr: "no path"},
		"bad port":               {config: Config{AllowOrigins: []string{"https://a.example:x"}}, wantErr: "scheme://host"},
		"lowercase method":       {config: Config{AllowOrigins: ok, AllowMethods: []string{"patch"}}, wantErr: "capital letters"},
		"forbidden method":       {config: Config{AllowOrigins: ok, AllowMethods: []string{"TRACE"}}, wantErr: "browsers forbid"},
		"bad header":             {config: Config{AllowOrigins: ok, AllowHeaders: []string{"a b"}}, wantErr: "header name"},
		"part of a header":       {config: Config{AllowOrigins: ok, AllowHeaders: []string{"X-*"}}, wantErr: "header name"},
		"bad exposed header":     {config: Config{AllowOrigins: ok, ExposeHeaders: []string{""}}, wantErr: "header name"},
		"* methods, credentials": {config: Config{AllowOrigins: ok, AllowMethods: []string{"*"}, AllowCredentials: true}, wantErr: "literal name"},
		"* headers, credentials": {config: Config{AllowOrigins: ok, AllowHeaders: []string{"*"}, AllowCredentials: true}, wantErr: "literal name"},
		"* exposed, credentials": {config: Config{AllowOrigins: ok, ExposeHeaders: []string{"*"}, AllowCredentials: true}, wantErr: "literal name"},
		"negative age":           {config: Config{AllowOrigins: ok, MaxAge: -time.Second}, wantErr: "negative"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := New(tt.config); err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("New: %v; want %q", err, tt.wantErr)
			}
		})
	}
}
