package sessionredis

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/login/session"
)

// errReply reports a reply that no script of this version returns: another program wrote to the key.
var errReply = errors.New("the session in Redis is invalid")

func text(b [32]byte) string { return base64.RawURLEncoding.EncodeToString(b[:]) }

// boundField returns the hash field with the text of session.Bind.Tie.
func boundField(b session.Bind) string {
	switch b {
	case session.BindUserAgent:
		return "agent"
	case session.BindAddress:
		return "address"
	default:
		return ""
	}
}

// encode returns the fields that are set when the session is created.
func encode(n session.New) []any {
	linger, external := session.Linger, n.Refresh.IsZero()
	if external {
		linger = n.AbsoluteTimeout
	}
	fields := []any{
		"issuer", n.Issuer, "subject", n.Subject, "idle", n.IdleTimeout.Microseconds(), "linger", linger.Microseconds(),
		"userAgent", n.Device.UserAgent, "browser", n.Device.Browser, "os", n.Device.OS,
		"agent", session.BindUserAgent.Tie(n.Device), "address", session.BindAddress.Tie(n.Device),
		"claims", string(n.Claims), "external", external,
	}
	if external {
		return fields
	}
	return append(fields, "proof", text(n.Refresh.Proof()), "current", text(n.Refresh.Hash()))
}

// reply is the reply of a script for one session.
type reply struct {
	outcome string
	session session.Session
	more    []string
}

func (s *Store) run(ctx context.Context, script *goredis.Script, keys []string, args ...any) (r reply, err error) {
	var parts []any
	err = s.conn.Do(ctx, func(ctx context.Context, client goredis.UniversalClient) (err error) {
		parts, err = script.Run(ctx, client, keys, s.args(args...)...).Slice()
		return err
	})
	if err != nil {
		return r, err
	}
	if len(parts) == 0 || len(parts) > 3 {
		return r, errReply
	}
	r.outcome, _ = parts[0].(string)
	if len(parts) > 1 {
		if r.session, err = decode(parts[1]); err != nil {
			return r, err
		}
	}
	if len(parts) > 2 {
		r.more, err = stringsOf(parts[2])
	}
	return r, err
}

func stringsOf(v any) ([]string, error) {
	parts, ok := v.([]any)
	if !ok {
		return nil, errReply
	}
	var texts []string
	for _, part := range parts {
		t, ok := part.(string)
		if !ok {
			return nil, errReply
		}
		texts = append(texts, t)
	}
	return texts, nil
}

func decodeSalts(texts []string) ([]session.Salt, error) {
	salts := make([]session.Salt, len(texts))
	for i, t := range texts {
		b, err := base64.RawURLEncoding.DecodeString(t)
		if err != nil || copy(salts[i][:], b) != len(salts[i]) {
			return nil, errReply
		}
	}
	return salts, nil
}

// decode parses the fields and values of a session.
func decode(v any) (s session.Session, err error) {
	flat, err := stringsOf(v)
	if err != nil || len(flat)%2 != 0 {
		return s, errReply
	}
	fields := make(map[string]string, len(flat)/2)
	for i := 0; i < len(flat); i += 2 {
		fields[flat[i]] = flat[i+1]
	}
	numbers := map[string]int64{}
	for _, name := range []string{"created", "seen", "expires", "absolute", "idle"} {
		if numbers[name], err = strconv.ParseInt(fields[name], 10, 64); err != nil {
			return s, fmt.Errorf("%w: %s", errReply, name)
		}
	}
	moment := func(name string) time.Time { return time.UnixMicro(numbers[name]).UTC() }
	s = session.Session{
		ID: fields["id"], Owner: session.Owner{Issuer: fields["issuer"], Subject: fields["subject"]},
		Device:  session.Device{UserAgent: fields["userAgent"], Browser: fields["browser"], OS: fields["os"]},
		Created: moment("created"), LastSeen: moment("seen"), IdleExpiry: moment("expires"), AbsoluteExpiry: moment("absolute"),
		IdleTimeout: time.Duration(numbers["idle"]) * time.Microsecond, External: fields["external"] == "1",
	}
	if p := fields["proof"]; p != "" {
		b, err := base64.RawURLEncoding.DecodeString(p)
		if err != nil || copy(s.Proof[:], b) != len(s.Proof) {
			return s, fmt.Errorf("%w: proof", errReply)
		}
	}
	if c := fields["claims"]; c != "" {
		s.Claims = []byte(c)
	}
	if a, err := netip.ParseAddr(fields["address"]); err == nil {
		s.Device.Address = a
	}
	return s, nil
}
