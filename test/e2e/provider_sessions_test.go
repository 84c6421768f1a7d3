//go:build e2e

package e2e

import (
	"crypto/rand"
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// outside is a policy with external sessions of an issuer's tokens.
const outside = ofCorp + `      backChannelLogout: {clientIDs: [orders-client]}
  sessions: {subjectFrom: sid, idleTimeout: 20s, absoluteTimeout: 1h, maxPerSubject: 2, whenFull: Reject}
`

// testProviderSessions: idle timeout, cap and back-channel logout apply to external tokens, across both pods.
func testProviderSessions(t *testing.T) {
	s := newSpace(t)
	corp := newIssuer(t)
	s.apply(outside, "JWKS", corp.jwks())
	s.deploy("orders", 2)
	s.rolledOut("orders")
	s.enforced("orders", 2)
	pods := s.pods("orders")
	here, there := podURL(&pods[0], appPort), podURL(&pods[1], appPort)
	token := func(subject, sid string) string { return corp.token(subject, jwt.MapClaims{"sid": sid}) }
	ask := func(url, token string) response { return get(t, url+"/whoami", bearer(token)) }

	first, second, third := token("ada", "s1"), token("ada", "s2"), token("ada", "s3")
	ask(here, first).wantStatus(t, http.StatusOK)
	ask(there, second).wantStatus(t, http.StatusOK)
	if got := ask(here, third).wantStatus(t, http.StatusForbidden); !problemIs(got, "session-limit") {
		t.Errorf("a third session: %s", got.body)
	}

	// The provider logs out the first session, at one pod.
	logout := corp.sign(jwt.SigningMethodES256, corp.key, jwt.MapClaims{
		"iss": issuerName, "aud": "orders-client", "sid": "s1", "jti": rand.Text(), "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(),
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	}, "logout+jwt")
	form := "Content-Type: application/x-www-form-urlencoded"
	do(t, http.MethodPost, there+"/auth/backchannel-logout", "logout_token="+logout, form).wantStatus(t, http.StatusOK)
	for _, url := range []string{here, there} {
		eventuallyStatus(t, http.StatusUnauthorized, url+"/whoami", bearer(first))
	}
	do(t, http.MethodPost, here+"/auth/backchannel-logout", "logout_token="+logout, form).wantStatus(t, http.StatusBadRequest)
	ask(here, second).wantStatus(t, http.StatusOK)
	ask(there, third).wantStatus(t, http.StatusOK) // there is room for it now

	// An unused session expires, whatever the token's exp is.
	time.Sleep(21 * time.Second)
	if got := ask(here, second).wantStatus(t, http.StatusUnauthorized); !problemIs(got, "session-ended") {
		t.Errorf("an idle session: %s", got.body)
	}
}
