package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// target is what to revoke: one of a subject, a session, a token and a key.
type target struct {
	issuer, subject, sessionID, tokenID, keyID string
	token, tokenFile                           string
	issuedBeforeText, expiresText              string

	issuedBefore, expires time.Time // zero if not set
}

func (t *target) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&t.subject, "subject", "", "sub: all tokens that were issued to it until now, or before --issued-before, and its sessions")
	f.StringVar(&t.sessionID, "session-id", "", "sid: the session and its tokens")
	f.StringVar(&t.tokenID, "token-id", "", "jti: one token")
	f.StringVar(&t.keyID, "key-id", "", "kid: all tokens that the key has signed")
	f.StringVar(&t.token, "token", "", "only - is allowed: reads the token from standard input, and revokes it by its jti and iss")
	f.StringVar(&t.tokenFile, "token-file", "", "file with the token, which is revoked by its jti and iss")
	f.StringVar(&t.issuer, "issuer", "", "iss of the tokens (default: every accepted issuer)")
	f.StringVar(&t.issuedBeforeText, "issued-before", "", "a time, as 2026-01-31T12:00:00Z; only with --subject")
	f.StringVar(&t.expiresText, "expires", "", "time when the last of the tokens expires, as 2026-01-31T12:00:00Z (default: calculated from their lifetimes)")
}

// resolve checks the flags, and reads the token if one is given.
func (t *target) resolve(stdin io.Reader, now time.Time) error {
	given := 0
	for _, value := range []string{t.subject, t.sessionID, t.tokenID, t.keyID, t.token, t.tokenFile} {
		if value != "" {
			given++
		}
	}
	if given != 1 {
		return errors.New("set exactly one of --subject, --session-id, --token-id, --key-id, --token and --token-file")
	}
	if t.issuedBeforeText != "" && t.subject == "" {
		return errors.New("--issued-before needs --subject")
	}
	for _, flag := range []struct {
		name, text string
		into       *time.Time
	}{{"issued-before", t.issuedBeforeText, &t.issuedBefore}, {"expires", t.expiresText, &t.expires}} {
		if flag.text == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339, flag.text)
		if err != nil {
			return fmt.Errorf("--%s %q is not a time like 2026-01-31T12:00:00Z", flag.name, flag.text)
		}
		*flag.into = at
	}
	if t.token == "" && t.tokenFile == "" {
		return nil
	}
	text, err := t.readToken(stdin)
	if err != nil {
		return err
	}
	return t.setToken(text, now)
}

// maxToken bounds a token, in bytes.
const maxToken = 64 << 10

// readToken reads the token from a file or standard input. It does not accept a token on the command line, because other users of
// the machine can see it.
func (t *target) readToken(stdin io.Reader) (string, error) {
	in := stdin
	if t.tokenFile != "" {
		f, err := os.Open(t.tokenFile)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	} else if t.token != "-" {
		return "", errors.New("--token must be -, for standard input: other users of this machine can read a token that is an argument")
	}
	b, err := io.ReadAll(io.LimitReader(in, maxToken))
	if err != nil {
		return "", fmt.Errorf("reading token: %w", err)
	}
	return strings.TrimPrefix(strings.TrimSpace(string(b)), "Bearer "), nil
}

// setToken reads jti and iss from a token. It does not verify the token, because it revokes only the token with this jti. No error
// contains a part of the token.
func (t *target) setToken(text string, now time.Time) error {
	claims := &jwt.RegisteredClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(text, claims); err != nil {
		return errors.New("reading token: it is not a JWT")
	}
	if claims.ID == "" {
		return errors.New("the token has no jti, so it cannot be revoked alone: revoke its --subject")
	}
	if t.issuer != "" && claims.Issuer != t.issuer {
		return errors.New("the token's issuer differs from --issuer")
	}
	t.tokenID, t.issuer = claims.ID, claims.Issuer
	// A token that lives longer than the default assumption for a provider must stay revoked until it expires.
	if exp := claims.ExpiresAt; t.expires.IsZero() && exp != nil && exp.Time.After(now.Add(compiled.AssumedTokenLifetime)) {
		t.expires = exp.Add(time.Hour)
	}
	return nil
}

func (t *target) spec() v1alpha1.TokenRevocationSpec {
	return v1alpha1.TokenRevocationSpec{
		Issuer: t.issuer, Subject: t.subject, SessionID: t.sessionID, TokenID: t.tokenID, KeyID: t.keyID,
		IssuedBefore: timeOf(t.issuedBefore), Expires: timeOf(t.expires),
	}
}

func timeOf(at time.Time) *metav1.Time {
	if at.IsZero() {
		return nil
	}
	return &metav1.Time{Time: at.UTC()}
}

// maxSlug bounds the part of the value in a generated name, in bytes.
const maxSlug = 40

// objectName generates a readable, unique name.
func (t *target) objectName() string {
	kind, value := "subject", t.subject
	switch {
	case t.sessionID != "":
		kind, value = "session", t.sessionID
	case t.tokenID != "":
		kind, value = "token", t.tokenID
	case t.keyID != "":
		kind, value = "key", t.keyID
	}
	slug := strings.Join(strings.FieldsFunc(strings.ToLower(value), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	}), "-")
	if len(slug) > maxSlug {
		slug = strings.TrimRight(slug[:maxSlug], "-")
	}
	parts := []string{kind, slug, rand.String(5)}
	if slug == "" {
		parts = []string{kind, rand.String(5)}
	}
	return strings.Join(parts, "-")
}

// loopbackRequest is the request of the loopback API.
type loopbackRequest struct {
	Issuer       string `json:"issuer,omitempty"`
	TokenID      string `json:"token_id,omitempty"`
	SessionID    string `json:"session_id,omitempty"`
	Subject      string `json:"subject,omitempty"`
	IssuedBefore string `json:"issued_before,omitempty"`
	KeyID        string `json:"key_id,omitempty"`
	Expires      string `json:"expires,omitempty"`
}

// request returns the request of the loopback API. It omits times that are not set: the sidecar knows the lifetimes of tokens, and
// its clock is the one that dates them, not the clock of this machine.
func (t *target) request() loopbackRequest {
	return loopbackRequest{
		Issuer: t.issuer, TokenID: t.tokenID, SessionID: t.sessionID, Subject: t.subject, KeyID: t.keyID,
		IssuedBefore: formatTime(t.issuedBefore), Expires: formatTime(t.expires),
	}
}

// formatTime returns an empty text for the zero time.
func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
