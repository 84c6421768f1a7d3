package check

import (
	"net/url"
	"strings"
	"testing"
)

func TestRedirectPath(t *testing.T) {
	for _, good := range []string{"/", "/login", "/login/", "/login?from=logout&lang=de", "/#/login", "/caf%C3%A9", "/a/b;c=d", "/login?next=https://shop.example.com/"} {
		if err := RedirectPath(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "login", "https://evil.example/", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "/a/..//evil.example", "/.//evil.example",
		"/../x", "/./x", "/%2e%2e/x", "/a//b", "/\tevil", "/\n/evil.example", "/\r\nSet-Cookie: a=b", " /login", "/a b", "/caf\u00e9", "/%", "/%zz", "/%5cevil.example", "/%2fevil.example",
		"javascript:alert(1)", "/" + strings.Repeat("a", maxRedirect),
	} {
		if err := RedirectPath(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// FuzzRedirectPath checks that an accepted target stays on the host, resolved as it is and after a proxy has decoded or cleaned it.
func FuzzRedirectPath(f *testing.F) {
	for _, seed := range []string{"/", "/login?x=1#y", "//evil.example", "/\\evil.example", "/%2f%2fevil.example", "/./\\/evil.example"} {
		f.Add(seed)
	}
	base, err := url.Parse("https://shop.example.com/auth/logout")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, target string) {
		if RedirectPath(target) != nil {
			return
		}
		u, err := base.Parse(target)
		if err != nil || u.Host != base.Host || u.Scheme != base.Scheme {
			t.Fatalf("%q leads to %v, %v", target, u, err)
		}
		if strings.HasPrefix(u.Path, "//") || strings.ContainsAny(u.Path, "\\") || strings.ContainsFunc(target, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Fatalf("%q has the path %q", target, u.Path)
		}
	})
}
