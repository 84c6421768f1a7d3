package headers

import (
	"maps"
	"net/http"
	"reflect"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/request"
)

// TestOrder: the preset is applied before Remove, whichever of them does less work first; and responses that share lines never change them.
func TestOrder(t *testing.T) {
	immutable := http.Header{"Set-Cookie": {"a=1"}, "Cache-Control": {"max-age=60, immutable"}, "Server": {"x"}, "X-App": {"1"}}
	tests := map[string]struct {
		rules     Rules
		app       http.Header
		wantFirst bool
		want      map[string]string // empty for a field that is removed
	}{
		"the app's fields alone": {
			rules: Rules{Preset: "Strict", Remove: []string{"X-App"}}, app: immutable, wantFirst: true,
			want: map[string]string{"X-App": "", "Server": "", "Cache-Control": "no-store, max-age=0", "X-Frame-Options": "deny", "Set-Cookie": "a=1"},
		},
		"a field that decides about the preset": {
			rules: Rules{Preset: "Strict", Remove: []string{"Set-Cookie"}}, app: immutable,
			want: map[string]string{"Set-Cookie": "", "Server": "", "Cache-Control": "no-store, max-age=0"},
		},
		"a field of the preset": {
			rules: Rules{Preset: "Strict", Remove: []string{"x-frame-options"}}, app: immutable, want: map[string]string{"X-Frame-Options": "", "X-App": "1"},
		},
		"a field of the preset that is kept": {
			rules: Rules{Preset: "Strict", Remove: []string{"X-Frame-Options"}, Keep: []string{"X-Frame-Options"}}, wantFirst: true,
			app: http.Header{"X-Frame-Options": {"SAMEORIGIN"}}, want: map[string]string{"X-Frame-Options": "SAMEORIGIN"},
		},
		"set after remove": {
			rules: Rules{Preset: "API", Remove: []string{"X-App"}, Set: []Field{{Name: "x-app", Value: "2"}}}, app: immutable, wantFirst: true,
			want: map[string]string{"X-App": "2"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFields(tt.rules)
			if f.first != tt.wantFirst {
				t.Errorf("removed first: %v", f.first)
			}
			var last http.Header
			for range 2 {
				h := maps.Clone(tt.app)
				f.apply(&request.Info{}, h)
				for name, want := range tt.want {
					if got := h.Get(name); got != want || want == "" && h[name] != nil {
						t.Errorf("%s: %q; want %q", name, h[name], want)
					}
				}
				if last != nil && !reflect.DeepEqual(h, last) {
					t.Errorf("header %v; want %v", h, last)
				}
				last = h.Clone()
				for name := range h {
					h.Add(name, "added later")
				}
			}
		})
	}
}
