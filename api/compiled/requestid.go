package compiled

import "errors"

// RequestID says which id a request has.
type RequestID struct {
	// Header is the field of the request to the app and of the response to the client.
	Header string `json:"header"`
	// FromClients says whose ids are kept.
	FromClients RequestIDSource `json:"fromClients"`
}

// RequestIDSource says whose request ids are kept.
type RequestIDSource string

// Values of RequestIDSource that Validate accepts.
const (
	RequestIDNever          RequestIDSource = "Never"
	RequestIDTrustedProxies RequestIDSource = "TrustedProxies"
	RequestIDAlways         RequestIDSource = "Always"
)

// DefaultRequestIDHeader is the field of request ids if a document names none.
const DefaultRequestIDHeader = "X-Request-ID"

func (r *RequestID) validate() error {
	switch {
	case r == nil:
		return nil
	case r.Header == "":
		return errors.New("header is required")
	}
	return oneOf("fromClients", r.FromClients, RequestIDNever, RequestIDTrustedProxies, RequestIDAlways)
}
