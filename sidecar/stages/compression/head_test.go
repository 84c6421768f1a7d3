package compression

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// TestHeadAgreesWithGet: HEAD has the fields that GET has for the same response.
func TestHeadAgreesWithGet(t *testing.T) {
	for name, accept := range map[string]string{"gzip": "gzip", "zstd": "zstd", "identity": "identity"} {
		for kind, length := range map[string]string{"long": "4200", "short": "10", "unknown": ""} {
			t.Run(name+" "+kind, func(t *testing.T) {
				s, err := New(Config{MinSize: 100})
				if err != nil {
					t.Fatal(err)
				}
				n := map[string]int{"4200": 4200, "10": 10, "": 20}[length]
				h := s(stage.Func(func(w http.ResponseWriter, r *http.Request) error {
					w.Header().Set("Content-Type", "application/json")
					if length != "" {
						w.Header().Set("Content-Length", length)
					}
					w.Header().Set("Etag", `"1"`)
					w.Header().Set("Accept-Ranges", "bytes")
					w.WriteHeader(http.StatusOK)
					if r.Method != http.MethodHead {
						if _, err := w.Write(make([]byte, n)); err != nil || length != "" {
							return err
						}
						return http.NewResponseController(w).Flush() // as the proxy does if the length is unknown
					}
					return nil
				}))
				fields := map[string]http.Header{}
				for _, method := range []string{"GET", "HEAD"} {
					r := httptest.NewRequest(method, "/", nil)
					r.Header.Set("Accept-Encoding", accept)
					w := httptest.NewRecorder()
					if err := h.ServeHTTP(w, r); err != nil {
						t.Fatal(err)
					}
					if fields[method] = w.Result().Header; method == "HEAD" && w.Body.Len() > 0 {
						t.Errorf("HEAD has a body of %d bytes", w.Body.Len())
					}
				}
				if !reflect.DeepEqual(fields["GET"], fields["HEAD"]) {
					t.Errorf("GET %v\nHEAD %v", fields["GET"], fields["HEAD"])
				}
			})
		}
	}
}
