package chain

import (
	"slices"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// TestBreachedFile: a list on a volume decides. A list that is missing, or outside of the volume, is unavailable.
func TestBreachedFile(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		onFailure  compiled.FailureMode
		path       string
		password   string
		wantStatus int
		wantFailed []string
	}{
		"in the list":           {compiled.Deny, "lists/pwned.txt", goodPassword, 422, []string{"user.password:breached"}},
		"not in the list":       {compiled.Deny, "lists/pwned.txt", goodPassword + "8", 200, nil},
		"a missing list, Deny":  {compiled.Deny, "lists/next.txt", goodPassword, 503, nil},
		"a missing list, Allow": {compiled.Allow, "lists/next.txt", goodPassword, 200, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t).echoed()
			w.writeList("breached", "lists/pwned.txt", "first", goodPassword, "last")
			s := w.sidecar(registers(func(p *compiled.Policy) {
				p.PasswordPolicy.Breached = &compiled.BreachedPasswords{
					File: &compiled.VolumeFile{Claim: "breached", Path: tt.path}, Timeout: compiled.Duration(10 * time.Second), MinCount: 1, OnFailure: tt.onFailure,
				}
			}))
			g := s.send(registration("application/json", "", account(tt.password, tt.password, "a@b")))
			if g.status != tt.wantStatus || !slices.Equal(g.failed(), tt.wantFailed) {
				t.Errorf("%d %s %v", g.status, g.text, g.failed())
			}
			if api := s.loopback("POST", "/v1/passwords/hash", `{"password":"`+tt.password+`"}`); api.status != tt.wantStatus {
				t.Errorf("hash: %d %s", api.status, api.text)
			}
		})
	}
}
