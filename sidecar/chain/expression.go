package chain

import (
	"errors"
	"net/http"

	"github.com/posterndev/postern/sidecar/httpkit/request"
)

// expression returns the condition that an expression is; nil for none. This build has no engine for expressions, so a document with
// one is refused, as check.Document does.
func expression(text string) (func(*http.Request, *request.Info) (bool, error), error) {
	if text == "" {
		return nil, nil
	}
	return nil, errors.New("this build cannot evaluate expressions")
}
