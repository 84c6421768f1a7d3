package ratelimit

import (
	"context"
	"strings"
	"testing"
	"time"
)

type noStore struct{}

func (noStore) Take(context.Context, []Request) ([]Result, error)   { return nil, nil }
func (noStore) Peek(context.Context, []Request) ([]Result, error)   { return nil, nil }
func (noStore) Charge(context.Context, []Request) ([]Result, error) { return nil, nil }

func TestNewRefuses(t *testing.T) {
	good := Rule{Name: "login", Limit: 5, Period: time.Minute, OnFailure: Allow, KeyBy: []KeyPart{{Type: ClientAddress}}}
	with := func(change func(*Rule)) []Rule { r := good; change(&r); return []Rule{r} }
	keyBy := func(p ...KeyPart) []Rule { return with(func(r *Rule) { r.KeyBy = p }) }
	tests := map[string]struct {
		rules   []Rule
		wantErr string
	}{
		"no limit":              {rules: with(func(r *Rule) { r.Limit = 0 }), wantErr: "limit 0"},
		"a negative burst":      {rules: with(func(r *Rule) { r.Burst = -1 }), wantErr: "burst -1"},
		"a negative debt":       {rules: with(func(r *Rule) { r.Debt = -1 }), wantErr: "debt of -1"},
		"a debt of years":       {rules: with(func(r *Rule) { r.Debt = 1 << 40 }), wantErr: "to come back"},
		"no period":             {rules: with(func(r *Rule) { r.Period = 0 }), wantErr: "period"},
		"no polarity":           {rules: with(func(r *Rule) { r.OnFailure = "" }), wantErr: "onFailure"},
		"no name":               {rules: with(func(r *Rule) { r.Name = "" }), wantErr: "0 bytes"},
		"a long name":           {rules: with(func(r *Rule) { r.Name = strings.Repeat("x", 64) }), wantErr: "64 bytes"},
		"a name of two lines":   {rules: with(func(r *Rule) { r.Name = "a\r\nb" }), wantErr: "printable"},
		"a name twice":          {rules: []Rule{good, good}, wantErr: "same name"},
		"no key":                {rules: keyBy(), wantErr: "0 parts"},
		"a long key":            {rules: keyBy(make([]KeyPart, maxParts+1)...), wantErr: "9 parts"},
		"an unknown part":       {rules: keyBy(KeyPart{Type: "Cookie"}), wantErr: `"Cookie" is not known`},
		"a claim without name":  {rules: keyBy(KeyPart{Type: Claim}), wantErr: "claim's name"},
		"a header without name": {rules: keyBy(KeyPart{Type: Header}), wantErr: "header's name"},
		"an address with name":  {rules: keyBy(KeyPart{Type: ClientAddress, Name: "x"}), wantErr: "takes no name"},
		"a subject with name":   {rules: keyBy(KeyPart{Type: Subject, Name: "x"}), wantErr: "takes no name"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := New(Config{Rules: tt.rules, Store: noStore{}, Local: noStore{}})
			if err == nil || !strings.HasPrefix(err.Error(), "compiling rate limit") || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("New = %v; want an error with %q", err, tt.wantErr)
			}
		})
	}
	if _, err := New(Config{Store: noStore{}}); err == nil {
		t.Error("no local store, and no error")
	}
}
