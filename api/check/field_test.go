package check

import "testing"

func TestIsToken(t *testing.T) {
	for s, want := range map[string]bool{"X-A_b.c": true, "GET": true, "": false, "a b": false, "a:": false, "é": false, "a\n": false} {
		if got := IsToken(s); got != want {
			t.Errorf("IsToken(%q) = %v; want %v", s, got, want)
		}
	}
}
