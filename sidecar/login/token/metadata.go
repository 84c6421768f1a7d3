package token

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/httpkit/field"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/keys/signing"
)

// keysPath is where the JWK set is, on the issuer's host.
const keysPath = "/.well-known/jwks.json"

// Keys publishes; *signing.Ring does.
type Keys interface {
	Document() ([]byte, error)
	Algorithm() signing.Algorithm
}

// MetadataConfig says what is true of the issuer.
type MetadataConfig struct {
	// Issuer is the tokens' iss.
	Issuer string
	// Prefix is that of the Endpoints.
	Prefix   string
	Delivery Delivery
	Keys     Keys
	// MaxAge is for how long verifiers may keep the keys: less than the overlap of a rotation.
	MaxAge time.Duration
}

// Metadata is the documents by which other services verify our tokens with their own libraries: the JWK set, OpenID
// Connect Discovery 1.0 and RFC 8414. They say what is true and no more:
//
//   - there is no authorization endpoint, so response_types_supported is empty; it is there because both documents require
//     it and libraries refuse one without it;
//   - the token endpoint, which knows the refresh token grant alone, is named where tokens are delivered in bodies; with
//     cookies no OAuth client could use it, and grant_types_supported is empty;
//   - OpenID Connect requires id_token_signing_alg_values_supported; no ID tokens are issued, but libraries take from it how
//     our access tokens are signed.
type Metadata struct {
	cfg MetadataConfig
	// path is the issuer's, without trailing slash.
	path      string
	discovery []byte
}

// NewMetadata returns the documents, or an error that says which setting to change.
func NewMetadata(c MetadataConfig) (*Metadata, error) {
	if err := check.TokenIssuer(c.Issuer); err != nil {
		return nil, fmt.Errorf("building discovery for issuer %q: %w", c.Issuer, err)
	}
	if c.Prefix == "" {
		c.Prefix = DefaultPrefix
	}
	if c.Keys == nil || c.MaxAge < time.Second {
		return nil, errors.New("building discovery: it has no keys, or they may be kept for less than a second")
	}
	u, err := url.Parse(c.Issuer)
	if err != nil {
		return nil, fmt.Errorf("building discovery: %w", err)
	}
	m := &Metadata{cfg: c, path: strings.TrimSuffix(u.Path, "/")}
	origin := u.Scheme + "://" + u.Host
	algorithm := string(c.Keys.Algorithm())
	document := map[string]any{
		"issuer": c.Issuer, "jwks_uri": origin + keysPath,
		"response_types_supported": []string{}, "grant_types_supported": []string{},
		"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{algorithm},
	}
	if c.Delivery == Body {
		document["token_endpoint"] = origin + c.Prefix + "/refresh"
		document["grant_types_supported"] = []string{"refresh_token"}
		document["token_endpoint_auth_methods_supported"] = []string{"none"}
	}
	if m.discovery, err = json.Marshal(document); err != nil {
		return nil, fmt.Errorf("building discovery: %w", err)
	}
	return m, nil
}

// documents are by path. OpenID Connect appends its name to the issuer's path, RFC 8414 §3.1 puts its own before it.
func (m *Metadata) documents() map[string]document {
	discovery := document{body: func() ([]byte, error) { return m.discovery, nil }, contentType: "application/json", maxAge: m.cfg.MaxAge}
	keys := document{body: m.cfg.Keys.Document, contentType: "application/jwk-set+json", maxAge: m.cfg.MaxAge}
	return map[string]document{
		keysPath: keys,
		m.path + "/.well-known/openid-configuration":       discovery,
		"/.well-known/oauth-authorization-server" + m.path: discovery,
	}
}

// document is a public one, that caches may keep.
type document struct {
	body        func() ([]byte, error)
	contentType string
	maxAge      time.Duration
}

func (d document) serve(w http.ResponseWriter, r *http.Request) error {
	body, err := d.body()
	if errors.Is(err, signing.ErrNoKey) { // an empty set would be kept, and every token refused by it
		w.Header().Set("Cache-Control", "no-store")
		return unavailable(err)
	}
	if err != nil {
		return &httperr.Error{Status: http.StatusInternalServerError, Code: "internal", Detail: "The document cannot be made.", Cause: err}
	}
	sum := sha256.Sum256(body)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
	request.From(r).Public = true
	h := w.Header()
	h.Set("ETag", tag)
	h.Set("Cache-Control", "public, max-age="+strconv.FormatInt(seconds(d.maxAge), 10))
	h.Set("X-Content-Type-Options", "nosniff")
	if matches(r.Header["If-None-Match"], tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", d.contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client has gone: nobody is left to tell
	}
	return nil
}

// matches compares entity tags weakly, as RFC 9110 §13.1.2 asks.
func matches(ifNoneMatch []string, tag string) bool {
	for element := range field.Elements(ifNoneMatch) {
		if element == "*" || strings.TrimPrefix(element, "W/") == tag {
			return true
		}
	}
	return false
}
