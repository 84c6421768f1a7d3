package stage

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
)

// errLast is the error of a chain's last handler, so that a test sees it pass every stage.
var errLast = errors.New("last")

func TestChain(t *testing.T) {
	refuse := errors.New("refused")
	tests := map[string]struct {
		names   []string
		refuses string
		want    []string
		wantErr error
	}{
		"no stages":             {want: []string{"last"}, wantErr: errLast},
		"the first sees first":  {names: []string{"a", "b", "c"}, want: []string{"a", "b", "c", "last"}, wantErr: errLast},
		"absent stages":         {names: []string{"", "a", "", "b", ""}, want: []string{"a", "b", "last"}, wantErr: errLast},
		"a refusal ends it":     {names: []string{"a", "b", "c"}, refuses: "b", want: []string{"a", "b"}, wantErr: refuse},
		"all stages are absent": {names: []string{"", ""}, want: []string{"last"}, wantErr: errLast},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var seen []string
			stages := make([]Stage, len(tt.names))
			for i, name := range tt.names {
				if name == "" {
					continue
				}
				stages[i] = func(next Handler) Handler {
					return Func(func(w http.ResponseWriter, r *http.Request) error {
						seen = append(seen, name)
						if name == tt.refuses {
							return refuse
						}
						return next.ServeHTTP(w, r)
					})
				}
			}
			last := Func(func(http.ResponseWriter, *http.Request) error {
				seen = append(seen, "last")
				return errLast
			})
			err := Chain(last, stages...).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
			if !errors.Is(err, tt.wantErr) || !slices.Equal(seen, tt.want) {
				t.Errorf("order %v, %v; want %v, %v", seen, err, tt.want, tt.wantErr)
			}
		})
	}
}
