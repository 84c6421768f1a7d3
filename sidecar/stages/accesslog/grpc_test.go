package accesslog

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// TestGRPCRefusalsAreLogged: a refused call of gRPC has the HTTP status 200, and is logged as refused also in the mode Errors.
func TestGRPCRefusalsAreLogged(t *testing.T) {
	f := observed(t, "Errors", stage.Func(func(http.ResponseWriter, *http.Request) error {
		return &httperr.Error{Status: 403, Code: "access-denied", Detail: "Closed."}
	}))
	r := httptest.NewRequest("POST", "/a.B/C", nil)
	r.ProtoMajor = 2
	r.Header.Set("Content-Type", "application/grpc")
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	lines := f.logs.lines(t, "request")
	if w.Code != 200 || w.Header().Get("Grpc-Status") != "7" || len(lines) != 1 || lines[0]["status"] != 403.0 {
		t.Errorf("%d %v, log %v (%s)", w.Code, w.Header(), lines, f.logs.String())
	}
}
