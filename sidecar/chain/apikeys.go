package chain

import (
	"net/http"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	keys "github.com/posterndev/postern/sidecar/keys/apikey"
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
	source, err := b.parts.apiKeys(a)
	if err != nil {
		b.fail(err, "apiKeys")
		return nil
	}
	from, headers := apiKeyLocations(a), claimHeaders(a.ClaimsToHeaders)
	s, err := apikey.New(apikey.Config{
		Provider: compiled.APIKeysProvider, Issuer: compiled.APIKeysIssuer, From: from, Keys: source, ForwardKey: a.ForwardKey,
		Shadow: a.Mode == compiled.Shadow, Realm: b.policy.Name,
		Headers: func(id *identity.Identity) (http.Header, error) { return authn.ClaimHeaders(headers, id) },
	})
	b.fail(err, "apiKeys")
	b.stripCredentials = stripBoth(b.stripCredentials, apikey.StripCredentials(from), a.ClaimsToHeaders)
	return s
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

func absentAPIKeys(*compiled.APIKeys) (apikey.Keys, error) { return absentFile{}, nil }
