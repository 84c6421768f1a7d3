package upstream

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// StatusClientClosedRequest is what the access log says where the client went before there was an answer; nobody receives
// it. The number is nginx's.
const StatusClientClosedRequest = 499

// classify says whose fault it is that there is no answer: the client's context first, then its body, then the app.
func classify(client context.Context, x *exchange, cause error) *httperr.Error {
	if gone(client) {
		return &httperr.Error{Status: StatusClientClosedRequest, Code: "client-closed-request", Detail: "The client closed the request.", Cause: cause}
	}
	if err := x.bodyErr.Load(); err != nil {
		return classifyBody(*err)
	}
	var op *net.OpError
	var timeout net.Error
	switch {
	case errors.As(cause, &op) && op.Op == "dial":
		return &httperr.Error{Status: http.StatusBadGateway, Code: "app-unreachable", Detail: "The application cannot be reached.", Cause: cause}
	case errors.As(cause, &timeout) && timeout.Timeout(), client.Err() != nil:
		return &httperr.Error{Status: http.StatusGatewayTimeout, Code: "app-timeout", Detail: "The application did not answer in time.", Cause: cause}
	}
	return &httperr.Error{Status: http.StatusBadGateway, Code: "app-bad-response", Detail: "The application did not answer properly.", Cause: cause}
}

// classifyBody judges an error from reading the client's body. A stage that guards the body while it is read (its size, a
// password in it) has its own answer, which stands.
func classifyBody(err error) *httperr.Error {
	var own *httperr.Error
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &tooLarge):
		return &httperr.Error{Status: http.StatusRequestEntityTooLarge, Code: "body-too-large", Detail: "The request body is too large.", Cause: err}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &httperr.Error{Status: http.StatusRequestTimeout, Code: "body-timeout", Detail: "The request body did not arrive in time.", Cause: err}
	}
	return &httperr.Error{Status: http.StatusBadRequest, Code: "bad-body", Detail: "The request body could not be read.", Cause: err}
}
