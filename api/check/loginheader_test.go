package check

import (
	"strings"
	"testing"
)

func TestHeadersOfLogins(t *testing.T) {
	tests := map[string]struct{ account, challenge bool }{
		"X-Account": {true, true}, "X-Captcha": {true, true}, "H-Captcha-Response": {true, true}, "CF-Turnstile-Response": {challenge: true},
		// These never reach login protection, or not from every client.
		"Connection": {}, "Te": {}, "Postern-Subject": {}, "X-Postern-User": {}, "Script-Name": {}, "Proxy": {}, "X-Real-IP": {}, "X-Forwarded-For": {},
		"X-Forwarded-User": {}, "CF-Ray": {}, "CF-Other": {}, "X-Envoy-User": {},
		// These mean something else.
		"Authorization": {}, "Cookie": {}, "Content-Type": {}, "Host": {}, "Origin": {}, "Sec-Fetch-Site": {},
		"X_Account": {}, "": {}, "a b": {}, strings.Repeat("X", maxRequestField+1): {},
	}
	for name, want := range tests {
		for _, name := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			for what, got := range map[string]struct {
				err  error
				want bool
			}{"an account": {AccountHeader(name), want.account}, "a challenge": {ChallengeHeader(name), want.challenge}} {
				if (got.err == nil) != got.want {
					t.Errorf("%s in %q: %v; want allowed: %v", what, name, got.err, got.want)
				} else if got.err != nil && !strings.Contains(got.err.Error(), "; ") {
					t.Errorf("the refusal of %s in %q has no remedy: %v", what, name, got.err)
				}
			}
		}
	}
}
