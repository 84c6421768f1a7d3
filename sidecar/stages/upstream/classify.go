package upstream

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/reqbody"
)

// StatusClientClosedRequest is recorded in the access log if the client disconnected before there was a response. No
// client receives it. The number is nginx's.
const StatusClientClosedRequest = 499

// classify returns why there is no response. It checks the client first, then the client's body, then the app. In HTTP/1.1 net/http
// takes every error of reading the body for a client that has disconnected, and ends the context just before Read returns the error.
func classify(client context.Context, x *exchange, cause error) *httperr.Error {
	if gone(client) {
		if err := x.awaitBody(); err != nil && refusesBody(*err) {
			return reqbody.Refusal(*err)
		}
		return &httperr.Error{Status: StatusClientClosedRequest, Code: "client-closed-request", Detail: "The client closed the request.", Cause: cause}
	}
	if err := x.bodyErr.Load(); err != nil {
		return reqbody.Refusal(*err)
	}
	var refusal *httperr.Error
	if errors.As(cause, &refusal) { // Config.DialContext says what the sidecar lacks to connect
		return refusal
	}
	var op *net.OpError
	var timeout net.Error
	switch {
	case errors.As(cause, &op) && op.Op == "dial":
		return &httperr.Error{Status: http.StatusBadGateway, Code: "app-unreachable", Detail: "The application cannot be reached.", Cause: cause}
	case errors.As(cause, &timeout) && timeout.Timeout(), client.Err() != nil:
		return &httperr.Error{Status: http.StatusGatewayTimeout, Code: "app-timeout", Detail: "The application did not respond in time.", Cause: cause}
	}
	return &httperr.Error{Status: http.StatusBadGateway, Code: "app-bad-response", Detail: "The application sent an invalid response.", Cause: cause}
}

// refusesBody reports whether the sidecar itself ended the body: its framing is wrong, or it is too slow.
func refusesBody(err error) bool {
	var refusal *httperr.Error
	return errors.As(err, &refusal) || errors.Is(err, os.ErrDeadlineExceeded)
}
