package console

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// TestGolden: the pages, as HTML. Tokens of forms are replaced.
func TestGolden(t *testing.T) {
	for name, tt := range map[string]struct {
		target string
		change func(*fakeCluster)
		config func(*Config)
	}{
		"overview":                {target: "/"},
		"overview-all-namespaces": {target: "/", config: func(c *Config) { c.Namespace = "" }},
		"overview-good": {target: "/", change: func(f *fakeCluster) {
			f.in.Policies, f.in.Pods, f.in.Unread = f.in.Policies[:1], f.in.Pods[:2], nil
		}},
		"policy":            {target: "/policies/shop/accounts"},
		"policy-wrong":      {target: "/policies/shop/basket"},
		"policy-sessions":   {target: "/policies/shop/accounts?subject=user-42"},
		"policy-no-session": {target: "/policies/shop/accounts?subject=user-42", change: func(f *fakeCluster) { f.found = nil }},
		"policy-no-right": {target: "/policies/shop/accounts?subject=user-42", change: func(f *fakeCluster) {
			f.right = Right{Why: "you may not create pods/portforward in namespace shop"}
		}},
		"traffic":           {target: "/traffic"},
		"audit":             {target: "/audit?subject=user-42&since=48h&outcome=refused"},
		"audit-no-database": {target: "/audit", config: func(c *Config) { c.Trail = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeCluster(t)
			if tt.change != nil {
				tt.change(f)
			}
			b := newConsole(t, f, tt.config).signIn()
			got := b.page(tt.target)
			for _, s := range b.console.access.all {
				got = strings.ReplaceAll(got, s.csrf, "TOKEN")
			}
			path := filepath.Join("testdata", name+".html")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("the page differs from %s; compare with -update:\n%s", path, got)
			}
		})
	}
}
