// Package forwardcert sets the header X-Forwarded-Client-Cert, in which the app learns which certificate the client has shown, in the format of
// Envoy. It must come after clientaddr, which removes the header from the requests of untrusted peers, after authn, which may read it, and after clientcert,
// which refuses certificates that are no longer good.
package forwardcert

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/secured"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/httpkit/xfcc"
	"github.com/posterndev/postern/sidecar/keys/certificate"
)

// Config configures the stage.
type Config struct {
	// Remove removes the header of trusted proxies. Otherwise it is passed on.
	Remove bool
	// Details are what the app gets to know about the certificate of the connection, after what a trusted proxy says; empty for nothing.
	Details []xfcc.Detail
	// Clients judges the certificates. It is required with Details.
	Clients *certificate.Clients
}

type forwarder struct{ Config }

// New returns the stage. It refuses no request. A certificate that is not good is not forwarded, also in Shadow mode of the policy.
func New(c Config) (stage.Stage, error) {
	for _, d := range c.Details {
		if !slices.Contains(xfcc.Details(), d) {
			return nil, fmt.Errorf("building forwarded certificates: %q is not a detail", d)
		}
	}
	if len(c.Details) > 0 && c.Clients == nil {
		return nil, fmt.Errorf("building forwarded certificates: Clients is required")
	}
	f := &forwarder{c}
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			f.set(r, request.From(r))
			return next.ServeHTTP(w, r)
		})
	}, nil
}

func (f *forwarder) set(r *http.Request, info *request.Info) {
	var elements []string
	if info.Proxied && !f.Remove {
		for _, line := range r.Header[xfcc.Header] {
			if line != "" {
				elements = append(elements, line)
			}
		}
	}
	if own := f.element(info.TLS); own != "" {
		elements = append(elements, own)
	}
	if len(elements) == 0 {
		delete(r.Header, xfcc.Header)
		return
	}
	r.Header[xfcc.Header] = []string{strings.Join(elements, ",")}
}

// element returns the element for the certificate of a connection; empty if it has none that is good.
func (f *forwarder) element(s *secured.Session) string {
	if s == nil || len(s.PeerCertificates) == 0 || len(f.Details) == 0 {
		return ""
	}
	if _, err := f.Clients.Verify(s, s.PeerCertificates); err != nil {
		return ""
	}
	return s.Remember(f, func() string { return xfcc.Element(s.PeerCertificates, f.Details) })
}
