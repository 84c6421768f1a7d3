package endpoints

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
	"github.com/posterndev/postern/sidecar/login/transport"
)

// keysPath is the path of the JWK set on the issuer's host.
const keysPath = "/.well-known/jwks.json"

// Keys returns the public keys; *signing.Ring implements it.
type Keys interface {
	Document() ([]byte, error)
	Algorithm() signing.Algorithm
}

// MetadataConfig describes the issuer.
type MetadataConfig struct {
	// Issuer is the claim iss of the tokens.
	Issuer string
	// Prefix is the prefix of the endpoints.
	Prefix   string
	Delivery transport.Delivery
	Keys     Keys
	// MaxAge is how long verifiers may cache the keys. It must be less than the overlap of a rotation.
	MaxAge time.Duration
}

// Metadata holds the documents with which other services verify the tokens in standard libraries: the JWK set, OpenID Connect
// Discovery 1.0 and RFC 8414. They state only what is true:
//
//   - There is no authorization endpoint, so response_types_supported is empty. Both specifications require the member, and
//     libraries reject a document without it.
//   - The token endpoint, which supports only the refresh token grant, is present with delivery Body. With cookies no OAuth client
//     could use it, so grant_types_supported is empty.
//   - OpenID Connect requires id_token_signing_alg_values_supported. No ID tokens are issued, but libraries take the algorithm of
//     the access tokens from it.
type Metadata struct {
	cfg MetadataConfig
	// path is the path of the issuer, without trailing slash.
	path      string
	discovery []byte
}

// NewMetadata returns the documents. Its error says which setting to change.
func NewMetadata(c MetadataConfig) (*Metadata, error) {
	if err := check.TokenIssuer(c.Issuer); err != nil {
		return nil, fmt.Errorf("building discovery for issuer %q: %w", c.Issuer, err)
	}
	if c.Prefix == "" {
		c.Prefix = DefaultPrefix
	}
	if c.Keys == nil || c.MaxAge < time.Second {
		return nil, errors.New("building discovery: Keys is required, and MaxAge must be at least a second")
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
	if c.Delivery == transport.Body {
		document["token_endpoint"] = origin + c.Prefix + "/refresh"
		document["grant_types_supported"] = []string{"refresh_token"}
		document["token_endpoint_auth_methods_supported"] = []string{"none"}
	}
	if m.discovery, err = json.Marshal(document); err != nil {
		return nil, fmt.Errorf("building discovery: %w", err)
	}
	return m, nil
}

// documents returns the documents by path. OpenID Connect appends its name to the issuer's path, RFC 8414 §3.1 prepends its own.
func (m *Metadata) documents() map[string]document {
	discovery := document{body: func() ([]byte, error) { return m.discovery, nil }, contentType: "application/json", maxAge: m.cfg.MaxAge}
	keys := document{body: m.cfg.Keys.Document, contentType: "application/jwk-set+json", maxAge: m.cfg.MaxAge}
	return map[string]document{
		keysPath: keys,
		m.path + "/.well-known/openid-configuration":       discovery,
		"/.well-known/oauth-authorization-server" + m.path: discovery,
	}
}

// document is a public document that caches may store.
type document struct {
	body        func() ([]byte, error)
	contentType string
	maxAge      time.Duration
}

func (d document) serve(w http.ResponseWriter, r *http.Request) error {
	body, err := d.body()
	if errors.Is(err, signing.ErrNoKey) { // verifiers would cache an empty set and refuse every token
		w.Header().Set("Cache-Control", "no-store")
		return transport.Unavailable(err)
	}
	if err != nil {
		return &httperr.Error{Status: http.StatusInternalServerError, Code: "internal", Detail: "Creating the document failed.", Cause: err}
	}
	sum := sha256.Sum256(body)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
	request.From(r).Public = true
	h := w.Header()
	h.Set("ETag", tag)
	h.Set("Cache-Control", "public, max-age="+strconv.FormatInt(transport.Seconds(d.maxAge), 10))
	h.Set("X-Content-Type-Options", "nosniff")
	if matches(r.Header["If-None-Match"], tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", d.contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // a write error means that the client has disconnected
	}
	return nil
}

// matches compares entity tags weakly, as RFC 9110 §13.1.2 requires.
func matches(ifNoneMatch []string, tag string) bool {
	for element := range field.Elements(ifNoneMatch) {
		if element == "*" || strings.TrimPrefix(element, "W/") == tag {
			return true
		}
	}
	return false
}
