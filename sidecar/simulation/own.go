package simulation

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/login/appapi"
	"github.com/posterndev/postern/sidecar/login/transport"
	"github.com/posterndev/postern/sidecar/resources"
)

// registered are the claims of own tokens that a policy does not copy from a login.
var registered = []string{"iss", "aud", "sub", "client_id", "sid", "jti", "iat", "nbf", "exp"}

// sessionKey names a session of the policy's own tokens.
type sessionKey struct{ subject, name string }

// ownSession is the first token of a session, whose header and claims the others have too.
type ownSession struct {
	header map[string]any
	claims jwt.MapClaims
}

// own reports whether provider names the policy's own tokens.
func (s *Simulation) own(provider string) bool {
	return s.document.Tokens != nil && (provider == compiled.OwnProvider || provider == "" && len(s.document.Providers) == 0)
}

// ownCredential is Credential for a token that the policy itself issues. Its session begins as by a login, and stays as the requests
// leave it: a later token of a session that has ended is refused.
func (s *Simulation) ownCredential(ctx context.Context, c Claimed, r Request) (name, value string, err error) {
	subject, ok := c.Claims["sub"].(string)
	if !ok || subject == "" {
		return "", "", errors.New("write claims.sub, the user whose session it is: the policy itself issues the token")
	}
	t := s.document.Tokens
	for _, claim := range slices.Sorted(maps.Keys(c.Claims)) {
		if !slices.Contains(registered, claim) && !slices.Contains(t.Claims, claim) {
			return "", "", fmt.Errorf("the policy's own tokens have no claim %q: tokens.claims does not copy it from a login", claim)
		}
	}
	key := sessionKey{subject, c.Session}
	began, ok := s.sessions[key]
	if !ok {
		if began, err = s.login(ctx, subject, c.Claims, r); err != nil {
			return "", "", err
		}
		s.sessions[key] = began
	}
	token, err := s.signOwn(began, c.Claims)
	if err != nil {
		return "", "", err
	}
	name, value = s.carryOwn(token)
	return name, value, nil
}

// carryOwn returns the field in which a client sends an own token.
func (s *Simulation) carryOwn(token string) (name, value string) {
	if s.document.Tokens.Delivery != string(transport.Cookie) {
		return "Authorization", "Bearer " + token
	}
	cookie, _ := transport.CookieNames(resources.Scope(s.document))
	return "Cookie", cookie + "=" + token
}

// login begins a session as the app does.
func (s *Simulation) login(ctx context.Context, subject string, claims map[string]any, r Request) (ownSession, error) {
	copied := map[string]any{}
	for name, value := range claims {
		if value != nil && !slices.Contains(registered, name) {
			copied[name] = value
		}
	}
	body, err := json.Marshal(map[string]any{
		"subject": subject, "claims": copied, "device": map[string]string{"user_agent": r.Header.Get("User-Agent"), "address": r.address().String()},
	})
	if err != nil {
		return ownSession{}, errors.New("the claims are not JSON")
	}
	in, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://127.0.0.1/v1/tokens", strings.NewReader(string(body)))
	if err != nil {
		return ownSession{}, fmt.Errorf("beginning session: %w", err)
	}
	in.Header.Set("Content-Type", "application/json")
	in.Header.Set(appapi.RequestHeader, "true")
	w := &recorder{header: http.Header{}}
	s.snapshot.AppAPI().ServeHTTP(w, in)
	var got struct {
		Token  string `json:"access_token"`
		Detail string `json:"detail"`
	}
	if err := json.Unmarshal(w.body.Bytes(), &got); err != nil || w.status != http.StatusOK {
		return ownSession{}, fmt.Errorf("beginning session: %d %s", w.status, got.Detail)
	}
	began := ownSession{claims: jwt.MapClaims{}}
	token, _, err := jwt.NewParser().ParseUnverified(got.Token, began.claims)
	if err != nil {
		return ownSession{}, errors.New("beginning session: reading token")
	}
	began.header = token.Header
	return began, nil
}

// signOwn signs a token of a session, as if it were refreshed now, with changes to its claims.
func (s *Simulation) signOwn(began ownSession, changes map[string]any) (string, error) {
	t, now := s.document.Tokens, s.Now()
	key, err := s.keys.signer(t.Algorithm)
	if err != nil {
		return "", err
	}
	content := maps.Clone(began.claims)
	content["iat"], content["exp"], content["jti"] = now.Unix(), now.Add(t.AccessLifetime.Std()).Unix(), rand.Text()
	for name, value := range changes {
		if content[name] = value; value == nil {
			delete(content, name)
		}
	}
	token := jwt.NewWithClaims(jwt.GetSigningMethod(t.Algorithm), content)
	token.Header = began.header
	signed, err := token.SignedString(key.private)
	if err != nil {
		return "", fmt.Errorf("signing token: %w", err)
	}
	return signed, nil
}
