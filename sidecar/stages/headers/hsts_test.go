package headers

import (
	"net/http"
	"strings"
	"testing"
)

func TestMergeHSTS(t *testing.T) {
	tests := map[string]struct {
		app  []string
		want string
	}{
		"shorter":             {app: []string{"max-age=60"}, want: "max-age=31536000; includeSubDomains"},
		"off":                 {app: []string{"max-age=0"}, want: "max-age=31536000; includeSubDomains"},
		"longer":              {app: []string{"max-age=63072000"}, want: "max-age=63072000; includeSubDomains"},
		"longer with preload": {app: []string{"Max-Age=\"63072000\" ; includeSubDomains; Preload"}, want: "max-age=63072000; includeSubDomains; preload"},
		"preload, shorter":    {app: []string{"preload; max-age=1"}, want: "max-age=31536000; includeSubDomains; preload"},
		"beyond numbers":      {app: []string{"max-age=99999999999999999999"}, want: "max-age=2147483647; includeSubDomains"},
		"first line counts":   {app: []string{"max-age=1", "max-age=63072000"}, want: "max-age=31536000; includeSubDomains"},
		"no age":              {app: []string{"includeSubDomains"}},
		"two ages":            {app: []string{"max-age=1; max-age=2"}},
		"negative":            {app: []string{"max-age=-1"}},
		"no digits":           {app: []string{"max-age=year"}},
		"empty age":           {app: []string{"max-age="}},
		"empty":               {app: []string{""}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := mergeHSTS(http.Header{hsts: tt.app}); got != tt.want {
				t.Errorf("mergeHSTS(%q) = %q; want %q", tt.app, got, tt.want)
			}
		})
	}
}

func FuzzMergeHSTS(f *testing.F) {
	for _, seed := range []string{"max-age=1", "max-age=\"9\"; preload", ";;=", "includeSubDomains"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, app string) {
		got := mergeHSTS(http.Header{hsts: {app}})
		if got == "" {
			return
		}
		if !strings.HasPrefix(got, "max-age=") || !strings.Contains(got, "; includeSubDomains") || mergeHSTS(http.Header{hsts: {got}}) != got {
			t.Fatalf("mergeHSTS(%q) = %q", app, got)
		}
	})
}
