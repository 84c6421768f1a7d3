package upstream

import (
	"net/http"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// TestRefusedRequestsEndHere: no profile of the chain passes a request to the app that was refused before the chain.
func TestRefusedRequestsEndHere(t *testing.T) {
	d := doorTo(t, func(http.ResponseWriter, *http.Request) { t.Error("the app got the request") }, func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			return next.ServeHTTP(w, request.Refuse(r, &request.Refusal{Stage: "framing", Err: &httperr.Error{Status: 400, Code: "bad-path"}}))
		})
	})
	if res, _ := do(t, client(t, 1), request1(t, "GET", "http://"+d.addr+"/", nil)); res.StatusCode != 400 {
		t.Error(res.Status)
	}
}
