package response

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// hosting is a Host, as that of the access log.
type hosting struct {
	Writer
	room Room
}

// BeforeHeader is the outermost.
func (h *hosting) BeforeHeader(int) { h.Header().Add("X-Order", "host") }

// note returns a stage whose hook notes its name and status.
func note(name string) stage.Stage {
	return Decorate(func(_ *http.Request, status int, h http.Header) { h.Add("X-Order", name+" "+http.StatusText(status)) })
}

// writeErrors is a stage that writes the errors and panics of later ones.
func writeErrors(next stage.Handler) stage.Handler {
	return stage.Func(func(w http.ResponseWriter, r *http.Request) (err error) {
		defer func() {
			if recover() != nil {
				err = nil
				w.WriteHeader(http.StatusInternalServerError)
			}
		}()
		if err := next.ServeHTTP(w, r); err != nil {
			w.WriteHeader(httperr.From(err).Status)
		}
		return nil
	})
}

// own is a ResponseWriter between two stages.
func own(next stage.Handler) stage.Handler {
	return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
		return next.ServeHTTP(&middle{Writer{ResponseWriter: w}}, r)
	})
}

// middle overrides what sends the header, as interceptors do.
type middle struct{ Writer }

func (m *middle) WriteHeader(status int) {
	m.Header().Add("X-Order", "middle")
	m.ResponseWriter.WriteHeader(status)
}

// TestHooksOfAHost: the response passes the stages in the same order with a Host around them and without one.
func TestHooksOfAHost(t *testing.T) {
	tests := map[string]struct {
		stages []stage.Stage
		app    stage.Func
		want   []string
	}{
		"in reverse": {stages: []stage.Stage{note("a"), writeErrors, note("b"), note("c")}, app: status(201), want: []string{"c Created", "b Created", "a Created"}},
		"nothing written": {stages: []stage.Stage{note("a"), note("b")}, app: func(http.ResponseWriter, *http.Request) error { return nil },
			want: []string{"b OK", "a OK"}},
		"refused": {stages: []stage.Stage{note("a"), writeErrors, note("b")}, app: func(http.ResponseWriter, *http.Request) error { return &httperr.Error{Status: 403} },
			want: []string{"b Forbidden", "a Forbidden"}},
		"a panic": {stages: []stage.Stage{note("a"), writeErrors, note("b")}, app: func(http.ResponseWriter, *http.Request) error { panic("no") },
			want: []string{"a Internal Server Error"}},
		"a writer between": {stages: []stage.Stage{note("a"), own, note("b")}, app: status(201), want: []string{"b Created", "middle", "a Created"}},
		"another header first": {stages: []stage.Stage{note("a")}, app: func(w http.ResponseWriter, r *http.Request) error {
			w.WriteHeader(http.StatusEarlyHints)
			return status(201)(w, r)
		}, want: []string{"a Created"}},
		"more stages than room": {stages: []stage.Stage{note("1"), note("2"), note("3"), note("4"), note("5"), note("6"), note("7")}, app: status(204),
			want: []string{"7 No Content", "6 No Content", "5 No Content", "4 No Content", "3 No Content", "2 No Content", "1 No Content"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, hosted := range []bool{false, true} {
				rec := httptest.NewRecorder()
				var w http.ResponseWriter = rec
				want := tt.want
				if hosted {
					h := &hosting{Writer: Writer{ResponseWriter: rec}}
					h.OnHeader = h
					h.Host(&h.room)
					w = h
					if name != "nothing written" {
						want = append(slices.Clone(want), "host")
					}
				}
				err := stage.Chain(tt.app, tt.stages...).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
				if got := rec.Header()["X-Order"]; err != nil || !slices.Equal(got, want) {
					t.Errorf("with a host %v: %q, %v; want %q", hosted, got, err, want)
				}
			}
		})
	}
}

func status(code int) stage.Func {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(code)
		return nil
	}
}

// TestNoHostByInheritance: a type that overrides what calls the hooks keeps none.
func TestNoHostByInheritance(t *testing.T) {
	m := &middle{Writer{ResponseWriter: httptest.NewRecorder()}}
	if _, ok := m.push(nil, nil); ok {
		t.Error("it keeps hooks that it never calls")
	}
	if _, ok := http.ResponseWriter(m).(io.ReaderFrom); ok {
		t.Error("it inherits a way around its methods")
	}
}

// whole is a ResponseWriter that sends bodies without a copy, or fails.
type whole struct {
	*httptest.ResponseRecorder
	took int
	err  error
}

func (w *whole) ReadFrom(body io.Reader) (int64, error) {
	w.took++
	n, err := io.Copy(w.ResponseRecorder, body)
	return n, errors.Join(err, w.err)
}

// TestPassFrom: a body passes a Decorate with its hook, whether or not the ResponseWriter can send it as a whole.
func TestPassFrom(t *testing.T) {
	broken := errors.New("broken")
	for name, w := range map[string]*whole{"as a whole": {}, "with an error": {err: broken}} {
		t.Run(name, func(t *testing.T) {
			w.ResponseRecorder = httptest.NewRecorder()
			app := stage.Func(func(w http.ResponseWriter, _ *http.Request) error {
				_, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader("body"))
				return err
			})
			err := note("a")(app).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			if !errors.Is(err, w.err) || w.took != 1 || w.Body.String() != "body" || w.Header().Get("X-Order") != "a OK" {
				t.Errorf("%v, taken %d times: %q %v", err, w.took, w.Body, w.Header())
			}
			plain := httptest.NewRecorder()
			if err := note("a")(app).ServeHTTP(plain, httptest.NewRequest("GET", "/", nil)); err != nil || plain.Body.String() != "body" || plain.Header().Get("X-Order") != "a OK" {
				t.Errorf("in pieces: %v, %q %v", err, plain.Body, plain.Header())
			}
		})
	}
}
