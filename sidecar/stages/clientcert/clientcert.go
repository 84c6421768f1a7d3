// Package clientcert gives requests on a connection with a client certificate an identity, if they have no other credential. It must come after authn and
// apikey, and before revocation and authorization, which judge the identity.
//
// The handshake verified the certificate. Here it is judged again for each request, by the CAs and lists of now, because connections outlive both: a
// certificate that is no longer good, or is missing where it is required, refuses the request with 401 and closes the connection, so that the client
// connects with the certificate that it has now. Responses in progress end. While the CAs are not available, the last judgement holds.
package clientcert

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/keys/certificate"
)

// Config configures the stage. Clients, Provider and Issuer are required.
type Config struct {
	Clients *certificate.Clients
	// Provider and Issuer are those of the identities.
	Provider, Issuer string
	// Headers returns the headers that carry an identity's claims to the app; nil for none.
	Headers func(*identity.Identity) (http.Header, error)
}

const stageName = "clientcert"

// New returns the stage. Each certificate that gives an identity, or is refused, causes an event, token_verified or token_refused.
func New(c Config) (stage.Stage, error) {
	if c.Clients == nil || c.Provider == "" || c.Issuer == "" {
		return nil, errors.New("building client certificates: Clients, Provider and Issuer are required")
	}
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			if err := c.authenticate(w, r); err != nil {
				return err
			}
			return next.ServeHTTP(w, r)
		})
	}, nil
}

func (c *Config) authenticate(w http.ResponseWriter, r *http.Request) error {
	info := request.From(r)
	if info.TLS == nil {
		return nil // the stage plaintext decides about it
	}
	session := info.TLS
	owner, err := c.Clients.Verify(session, session.PeerCertificates)
	if err == nil && c.Clients.Required && len(session.PeerCertificates) == 0 {
		err = errMissing // the connection is older than the policy
	}
	if err != nil {
		return c.refuse(w, info, err)
	}
	if len(session.PeerCertificates) > 0 {
		info.Watch(request.Watch{Rule: request.Rule{Stage: stageName}, Judge: func(context.Context, request.Watched) *httperr.Error {
			if _, err := c.Clients.Verify(session, session.PeerCertificates); err != nil {
				return refusal(err)
			}
			return nil
		}})
	}
	if owner == nil || info.Identity != nil || info.AuthnErr != nil {
		return nil
	}
	return c.accept(r, info, &identity.Identity{
		Provider: c.Provider, Issuer: c.Issuer, Subject: owner.Subject, TokenID: owner.Fingerprint, IssuedAt: owner.NotBefore, Expires: owner.NotAfter, Claims: owner.Claims,
	})
}

var errMissing = errors.New("the connection has no certificate")

func (c *Config) accept(r *http.Request, info *request.Info, id *identity.Identity) error {
	if c.Headers != nil {
		headers, err := c.Headers(id)
		if err != nil {
			e := refusal(err)
			info.AuthnErr = e
			c.emit(info, "claim_headers")
			return nil
		}
		for name, values := range headers {
			r.Header[name] = values
		}
	}
	info.Identity = id
	info.Actor = event.Actor{Provider: id.Provider, Issuer: id.Issuer, Subject: id.Subject, TokenID: id.TokenID}
	info.Emit(event.Event{Kind: event.TokenVerified, Outcome: event.Success})
	return nil
}

// refuse refuses a request whose certificate is no longer good, also on routes that need no identity: its connection would not be admitted now. In Shadow
// mode of the policy, it passes without an identity.
func (c *Config) refuse(w http.ResponseWriter, info *request.Info, err error) error {
	e := refusal(err)
	c.emit(info, reasonOf(err))
	if info.AuthnErr == nil && info.Identity == nil {
		info.AuthnErr = e
	}
	w.Header().Set("Connection", "close") // in HTTP/2, net/http makes it a GOAWAY
	return info.Refuse(request.Rule{Stage: stageName}, e)
}

func refusal(err error) *httperr.Error {
	return &httperr.Error{
		Status: http.StatusUnauthorized, Code: "client-certificate", Cause: err,
		Detail: "The client certificate of this connection is missing or no longer valid. Connect again.",
	}
}

func (c *Config) emit(info *request.Info, reason string) {
	info.Emit(event.Event{Kind: event.TokenRefused, Outcome: event.Refused, Reason: reason, Actor: event.Actor{Provider: c.Provider, Issuer: c.Issuer}})
}

// reasonOf returns the reason for events and metrics.
func reasonOf(err error) string {
	var invalid x509.CertificateInvalidError
	switch {
	case errors.Is(err, errMissing):
		return "client_certificate_missing"
	case errors.Is(err, certificate.ErrRevoked):
		return "client_certificate_revoked"
	case errors.Is(err, certificate.ErrExpired), errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "client_certificate_expired"
	}
	return "client_certificate_untrusted"
}
