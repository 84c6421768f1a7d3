package upgraded

import (
	"context"
	"slices"
	"testing"
)

func TestOrder(t *testing.T) {
	for name, panics := range map[string]bool{"a tunnel that ends": false, "a panic": true} {
		t.Run(name, func(t *testing.T) {
			var got []string
			note := func(what string) func() { return func() { got = append(got, what) } }
			e := &Exchange{}
			ctx := context.WithValue(t.Context(), Key{}, e)
			End(ctx, note("before"))
			if !From(ctx).Outlive(func() {
				note("tunnel")()
				if panics {
					panic(name)
				}
			}) {
				t.Fatal("the exchange is unknown")
			}
			End(ctx, func() {
				note("inner")()
				if panics {
					panic(name)
				}
			})
			End(ctx, note("outer"))
			note("returned")()
			func() {
				defer func() {
					if got := recover() != nil; got != panics {
						t.Errorf("panicked: %t", got)
					}
				}()
				e.Run()
			}()
			if want := []string{"before", "returned", "tunnel", "inner", "outer"}; !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

// TestOtherServers: without an exchange in the context, nothing is left to the server.
func TestOtherServers(t *testing.T) {
	ended := false
	if From(t.Context()).Outlive(func() { t.Error("it ran") }) {
		t.Error("it outlives the handlers")
	}
	if End(t.Context(), func() { ended = true }); !ended {
		t.Error("the request has not ended")
	}
}
