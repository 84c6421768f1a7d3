package revocation

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"
)

// noFeed is a feed whose Load always fails.
type noFeed struct{ Feed }

func (noFeed) Load(context.Context, func([]Entry)) (Cursor, error) {
	return Cursor{}, errors.New("the store is unavailable")
}

func TestKnown(t *testing.T) {
	now := time.Now()
	listed := NewListed([]Entry{
		{Kind: Session, Issuer: "i", Value: "s", Expires: now.Add(time.Hour)},
		{Kind: Session, Issuer: "i", Value: "over", Expires: now.Add(-time.Second)},
		{Kind: Key, Issuer: "i", Value: "k"},
		{Kind: Subject, Issuer: "i", Value: "ada", Before: now, Expires: now.Add(time.Hour)},
	}, nil)
	tests := map[string]struct {
		query Query
		want  bool
	}{
		"a session":                   {Query{Issuer: "i", Session: "s", IssuedAt: now}, true},
		"a session of another issuer": {Query{Issuer: "j", Session: "s", IssuedAt: now}, false},
		"an expired session":          {Query{Issuer: "i", Session: "over", IssuedAt: now}, false},
		"a key without expiry":        {Query{Issuer: "i", KeyID: "k", IssuedAt: now}, true},
		"a subject, before":           {Query{Issuer: "i", Subject: "ada", IssuedAt: now.Add(-time.Minute)}, true},
		"a subject, after":            {Query{Issuer: "i", Subject: "ada", IssuedAt: now.Add(time.Minute)}, false},
		"not listed":                  {Query{Issuer: "i", TokenID: "t", Session: "x", Subject: "bob", IssuedAt: now}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Known{Listed: listed}.Revoked(t.Context(), &tt.query)
			if err != nil || got != tt.want {
				t.Errorf("revoked: %t, %v; want %t", got, err, tt.want)
			}
		})
	}
}

// TestKnownWithoutItsStore: the revocations that the document lists apply although the index is empty.
func TestKnownWithoutItsStore(t *testing.T) {
	index, err := NewIndex(IndexConfig{Feed: noFeed{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer index.Close()
	k := Known{Listed: NewListed([]Entry{{Kind: Key, Issuer: "i", Value: "k"}}, nil), Index: index}
	if revoked, err := k.Revoked(t.Context(), &Query{Issuer: "i", KeyID: "k"}); err != nil || !revoked {
		t.Errorf("revoked: %t, %v", revoked, err)
	}
	if age := k.Age(); age < time.Hour {
		t.Errorf("age %s although nothing was loaded", age)
	}
	if age := (Known{}).Age(); age != 0 {
		t.Errorf("without an index the age is %s", age)
	}
}
