package check

import "testing"

func TestClaimsThatNeverMatch(t *testing.T) {
	for path, want := range map[string]bool{
		"sub": true, "realm_access.roles": true, "https://example.com/roles": true, "a[b]": true, "$": true,
		"$.sub": false, "realm.roles[0]": false, "roles[*]": false, "roles[]": false, "": false,
	} {
		if err := Claim(path); (err == nil) != want {
			t.Errorf("%q: %v", path, err)
		}
	}
}
