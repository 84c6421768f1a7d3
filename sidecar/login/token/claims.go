package token

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/posterndev/postern/api/check/strictjson"
	"github.com/posterndev/postern/sidecar/login/session"
)

// maxClaimsDepth is that of authn's claims, less the token's own object.
const maxClaimsDepth = 8

// errClaims says what is wrong with claims, and quotes nothing of them.
var errClaims = errors.New("reading claims: not one JSON object of up to 4 KiB without repeated members")

// Select returns those members of a JSON object that the policy copies into tokens. Nil gives none.
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

// encodeClaims is how selected claims are kept with a session; nil for none.
func encodeClaims(selected map[string]any) (json.RawMessage, error) {
	if len(selected) == 0 {
		return nil, nil
	}
	b, err := json.Marshal(selected)
	if err != nil {
		return nil, fmt.Errorf("encoding claims: %w", err)
	}
	if len(b) > session.MaxClaims { // escaping may have made it longer
		return nil, errClaims
	}
	return b, nil
}
