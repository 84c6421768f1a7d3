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

// target is what is to be revoked: one of a subject, a session, a token and a key.
type target struct {
	issuer, subject, sessionID, tokenID, keyID string
	token, tokenFile                           string
	issuedBeforeText, expiresText              string

	issuedBefore, expires time.Time // zero where nothing is said
}

func (t *target) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&t.subject, "subject", "", "sub: everything that it was issued until now, or before --issued-before, and its sessions")
	f.StringVar(&t.sessionID, "session-id", "", "sid: the session and its tokens")
	f.StringVar(&t.tokenID, "token-id", "", "jti: one token")
	f.StringVar(&t.keyID, "key-id", "", "kid: everything that the key has signed")
	f.StringVar(&t.token, "token", "", "- reads the token itself from standard input, and revokes it by its jti and iss")
	f.StringVar(&t.tokenFile, "token-file", "", "file with the token itself")
	f.StringVar(&t.issuer, "issuer", "", "iss of the tokens; left out: every issuer that is accepted")
	f.StringVar(&t.issuedBeforeText, "issued-before", "", "with --subject: a time, as 2026-01-31T12:00:00Z")
	f.StringVar(&t.expiresText, "expires", "", "when the last of the tokens has expired, as 2026-01-31T12:00:00Z; left out, it follows from their lifetimes")
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
		return errors.New("say exactly one of --subject, --session-id, --token-id, --key-id, --token and --token-file")
	}
	if t.issuedBeforeText != "" && t.subject == "" {
		return errors.New("--issued-before goes with --subject")
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
	return t.take(text, now)
}

// maxToken bounds a token, in bytes.
const maxToken = 64 << 10

// readToken never takes a token from the command line, which other users of the machine can see.
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
		return "", errors.New("--token is - alone, for standard input: as an argument, other users of this machine could read the token")
	}
	b, err := io.ReadAll(io.LimitReader(in, maxToken))
	if err != nil {
		return "", fmt.Errorf("reading token: %w", err)
	}
	return strings.TrimPrefix(strings.TrimSpace(string(b)), "Bearer "), nil
}

// take reads jti and iss out of a token. Whether it is genuine does not matter: nothing but what it names is revoked. No error
// holds a part of it.
func (t *target) take(text string, now time.Time) error {
	claims := &jwt.RegisteredClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(text, claims); err != nil {
		return errors.New("reading token: it is not a JWT")
	}
	if claims.ID == "" {
		return errors.New("the token has no jti, by which alone it could be told from others: revoke its --subject")
	}
	if t.issuer != "" && claims.Issuer != t.issuer {
		return errors.New("the token is not of the --issuer that you say")
	}
	t.tokenID, t.issuer = claims.ID, claims.Issuer
	// A token that lives longer than is assumed of a provider that says nothing must stay revoked for as long.
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

// maxSlug bounds what a made-up name has of the value.
const maxSlug = 40

// objectName makes up a name that people can read, and that is no other object's.
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

// loopbackRequest is what the loopback API takes.
type loopbackRequest struct {
	Issuer       string `json:"issuer,omitempty"`
	TokenID      string `json:"token_id,omitempty"`
	SessionID    string `json:"session_id,omitempty"`
	Subject      string `json:"subject,omitempty"`
	IssuedBefore string `json:"issued_before,omitempty"`
	KeyID        string `json:"key_id,omitempty"`
	Expires      string `json:"expires,omitempty"`
}

// request says no time that nobody said: the sidecar knows how long tokens last, and its clock, not this machine's, is the one
// that dates them.
func (t *target) request() loopbackRequest {
	return loopbackRequest{
		Issuer: t.issuer, TokenID: t.tokenID, SessionID: t.sessionID, Subject: t.subject, KeyID: t.keyID,
		IssuedBefore: formatTime(t.issuedBefore), Expires: formatTime(t.expires),
	}
}

// formatTime is empty for no time.
func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
