package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"time"

	"github.com/golang-jwt/jwt/v5"
	goredis "github.com/redis/go-redis/v9"
)

// The content of tokens, as in the policy of the bench.
const (
	issuer   = "https://bench.example.com"
	audience = "bench"
	lifetime = 15 * time.Minute
	// idleTimeout is the idle timeout of a session.
	idleTimeout = 7 * 24 * time.Hour
)

type claims struct {
	jwt.RegisteredClaims
	Session string `json:"sid"`
}

// tokens signs and verifies access tokens.
type tokens struct {
	// key is nil if tokens are only verified.
	key    *ecdsa.PrivateKey
	public any
	parser *jwt.Parser
}

// readPublic reads the public key of an issuer of RS256 tokens.
func readPublic(o options) (*tokens, error) {
	content, err := os.ReadFile(o.key)
	if err != nil {
		return nil, err
	}
	key, err := jwt.ParseRSAPublicKeyFromPEM(content)
	if err != nil {
		return nil, fmt.Errorf("reading key: %w", err)
	}
	return &tokens{public: key, parser: parser("RS256", o)}, nil
}

// parser checks algorithm, issuer, audience and expiry.
func parser(algorithm string, o options) *jwt.Parser {
	return jwt.NewParser(
		jwt.WithValidMethods([]string{algorithm}), jwt.WithIssuer(o.issuer), jwt.WithAudience(o.audience), jwt.WithExpirationRequired(),
	)
}

func readTokens(o options) (*tokens, error) {
	content, err := os.ReadFile(o.key)
	if err != nil {
		return nil, err
	}
	key, err := jwt.ParseECPrivateKeyFromPEM(content)
	if err != nil {
		return nil, fmt.Errorf("reading key: %w", err)
	}
	return &tokens{key: key, public: &key.PublicKey, parser: parser("ES256", o)}, nil
}

func (t *tokens) sign(subject, session string) (string, error) {
	now := time.Now()
	return jwt.NewWithClaims(jwt.SigningMethodES256, claims{Session: session, RegisteredClaims: jwt.RegisteredClaims{
		Issuer: issuer, Audience: jwt.ClaimStrings{audience}, Subject: subject, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(lifetime)),
	}}).SignedString(t.key)
}

func (t *tokens) verify(token string) (*claims, error) {
	c := &claims{}
	_, err := t.parser.ParseWithClaims(token, c, func(*jwt.Token) (any, error) { return t.public, nil })
	return c, err
}

// sessions are stored in Redis: session:ID has the subject, and refresh:HASH the session of a refresh token.
type sessions struct{ redis *goredis.Client }

// begin returns a refresh token, with one round trip.
func (s sessions) begin(ctx context.Context, id, subject string) (refresh string, err error) {
	refresh = rand.Text()
	_, err = s.redis.Pipelined(ctx, func(p goredis.Pipeliner) error {
		p.Set(ctx, "session:"+id, subject, idleTimeout)
		p.Set(ctx, "refresh:"+hash(refresh), id, idleTimeout)
		return nil
	})
	return refresh, err
}

// use accepts a refresh token, which is valid once.
func (s sessions) use(ctx context.Context, refresh string) (id, subject string, err error) {
	if id, err = s.redis.GetDel(ctx, "refresh:"+hash(refresh)).Result(); err != nil {
		return "", "", err
	}
	subject, err = s.redis.Get(ctx, "session:"+id).Result()
	return id, subject, err
}

func (s sessions) end(ctx context.Context, id string) error {
	return s.redis.Del(ctx, "session:"+id).Err()
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
