package route

import (
	"slices"
	"testing"
)

func TestDeclared(t *testing.T) {
	patterns := []string{"/**", "/users/**", "/users/*", "/users/me", "/users/*/orders", "/users", "/", "/*/x", "/users/me"}
	tests := map[string]string{
		"/": "/", "/users": "/users", "/users/": "/users", "/users/me": "/users/me", "/users/42": "/users/*", "/users/42/orders": "/users/*/orders",
		"/users/42/y/z": "/users/**", "/b/x": "/*/x", "/other": "/**", "*": "",
	}
	for range 2 {
		slices.Reverse(patterns) // the order does not count
		d, err := NewDeclared(patterns)
		if err != nil {
			t.Fatal(err)
		}
		for path, want := range tests {
			if got := d.Of(&Target{Path: path}); got != want {
				t.Errorf("%s is %q; want %q", path, got, want)
			}
		}
	}
	d, err := NewDeclared([]string{"/Users/*"})
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Of(&Target{Path: "/users/1"}); got != "" {
		t.Errorf("%q without regard to case", got)
	}
	if got := d.Of(&Target{Path: "/USERS/1", readings: []string{"/users/1"}, ignoreCase: true}); got != "/Users/*" {
		t.Errorf("%q; want the pattern as it is declared", got)
	}
	if got := (*Declared)(nil).Of(&Target{Path: "/x"}); got != "" {
		t.Errorf("%q of none", got)
	}
	if _, err := NewDeclared([]string{"x"}); err == nil {
		t.Error("no error")
	}
	target := Target{Path: "/users/42"}
	if n := testing.AllocsPerRun(100, func() { d.Of(&target) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
