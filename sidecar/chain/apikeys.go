package chain

import (
	"context"
	"net/http"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	keys "github.com/posterndev/postern/sidecar/keys/apikey"
	"github.com/posterndev/postern/sidecar/keys/htpasswd"
	"github.com/posterndev/postern/sidecar/stages/apikey"
	"github.com/posterndev/postern/sidecar/stages/authn"
)

// apiKeys returns the stage that gives requests with an API key an identity. It extends stripCredentials, so that a revoked key does
// not reach the app either.
func (b *builder) apiKeys() stage.Stage {
	a := b.policy.APIKeys
	if a == nil || len(b.errs) > 0 {
		return nil
	}
	keys, users, err := b.keySources(a)
	if err != nil {
		b.fail(err, "apiKeys")
		return nil
	}
	if keys != nil {
		b.files.Keys = keys.Keys
	}
	if users != nil {
		b.files.Users = users.Users
	}
	from, headers := apiKeyLocations(a), claimHeaders(a.ClaimsToHeaders)
	s, err := apikey.New(apikey.Config{
		From: from, Keys: keys, Users: users, Current: &b.active.Files, ForwardKey: a.ForwardKey,
		Shadow: a.Mode == compiled.Shadow, Realm: b.policy.Name, Now: b.now,
		Headers: func(id *identity.Identity) (http.Header, error) { return authn.ClaimHeaders(headers, id) },
	})
	b.fail(err, "apiKeys")
	b.stripCredentials = stripBoth(b.stripCredentials, apikey.StripCredentials(from), a.ClaimsToHeaders)
	return s
}

// keySources returns what verifies keys and users; nil for what the policy does not have.
func (b *builder) keySources(a *compiled.APIKeys) (*apikey.KeySource, *apikey.UserSource, error) {
	var keys *apikey.KeySource
	var users *apikey.UserSource
	if a.Keys != nil {
		source, err := b.parts.apiKeys(a)
		if err != nil {
			return nil, nil, err
		}
		keys = &apikey.KeySource{Provider: compiled.APIKeysProvider, Issuer: compiled.APIKeysIssuer, Keys: source}
	}
	if a.Users != nil {
		source, err := b.parts.users(a)
		if err != nil {
			return nil, nil, err
		}
		users = &apikey.UserSource{Provider: compiled.BasicUsersProvider, Issuer: compiled.BasicUsersIssuer, Users: source}
	}
	return keys, users, nil
}

// stripBoth removes tokens, if there are any, and keys with the headers of their claims.
func stripBoth(tokens, apiKeys func(http.Header), claims []compiled.ClaimToHeader) func(http.Header) {
	return func(h http.Header) {
		if tokens != nil {
			tokens(h)
		}
		apiKeys(h)
		for _, c := range claims {
			h.Del(c.Header)
		}
	}
}

func apiKeyLocations(a *compiled.APIKeys) []apikey.Location {
	var out []apikey.Location
	for _, l := range a.From {
		out = append(out, apikey.Location(l))
	}
	if a.Users != nil {
		out = append(out, apikey.Location{BasicAuth: true})
	}
	return out
}

// apiKeyChallenges returns the challenges of a 401 in addition to that for tokens.
func (b *builder) apiKeyChallenges() []string {
	if b.policy.APIKeys == nil {
		return nil
	}
	challenges, err := apikey.Challenges(apiKeyLocations(b.policy.APIKeys), b.policy.Name)
	b.fail(err, "apiKeys")
	return challenges
}

// absentFile replaces the key file, which Check does not load.
type absentFile struct{}

func (absentFile) File() (*keys.File, error) { return nil, keys.ErrUnavailable }

// absentUsers replaces the file of users, which Check does not load.
type absentUsers struct{}

func (absentUsers) File() (*htpasswd.File, error) { return nil, keys.ErrUnavailable }

func (absentUsers) Verify(context.Context, *htpasswd.File, htpasswd.Attempt) (string, error) {
	return "", nil
}

func absentBasicUsers(*compiled.APIKeys) (apikey.Users, error) { return absentUsers{}, nil }

func absentAPIKeys(*compiled.APIKeys) (apikey.Keys, error) { return absentFile{}, nil }
