package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
)

// body is a token response, RFC 6749 §5.1.
type body struct {
	*bytes.Reader
	size int64
}

func (b body) Close() error   { return nil }
func (b body) length() string { return strconv.FormatInt(b.size, 10) }

// issue issues the tokens of a new or existing session.
func (p *proxy) issue(r *http.Request, session, subject string) (body, error) {
	access, err := p.tokens.sign(subject, session)
	if err != nil {
		return body{}, err
	}
	refresh, err := p.sessions.begin(r.Context(), session, subject)
	if err != nil {
		return body{}, err
	}
	encoded, err := json.Marshal(map[string]any{
		"access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": int(lifetime.Seconds()),
	})
	return body{bytes.NewReader(encoded), int64(len(encoded))}, err
}
