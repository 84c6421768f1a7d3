package token

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/posterndev/postern/api/check/strictjson"
	"github.com/posterndev/postern/sidecar/login/session"
)

// maxClaimsDepth is the depth that authn allows, less the token's own object.
const maxClaimsDepth = 8

// errClaims does not quote the claims.
var errClaims = errors.New("reading claims: want one JSON object of up to 4 KiB without repeated members")

// Select returns the members of a JSON object that the policy copies into tokens. It returns none for nil.
func (i *Issuer) Select(object json.RawMessage) (map[string]any, error) {
	if len(object) == 0 {
		return nil, nil
	}
	if len(object) > session.MaxClaims {
		return nil, errClaims
	}
	all, err := strictjson.Object(object, maxClaimsDepth)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errClaims, err)
	}
	selected := map[string]any{}
	for name, value := range all {
		if i.copied[name] {
			selected[name] = value
		}
	}
	return selected, nil
}

// encodeClaims encodes selected claims for the session store; nil for none.
func encodeClaims(selected map[string]any) (json.RawMessage, error) {
	if len(selected) == 0 {
		return nil, nil
	}
	b, err := json.Marshal(selected)
	if err != nil {
		return nil, fmt.Errorf("encoding claims: %w", err)
	}
	if len(b) > session.MaxClaims { // escaping can make it longer
		return nil, errClaims
	}
	return b, nil
}
