package fieldset

import (
	"slices"
	"strings"
	"testing"
)

// TestListsAgree: a list that names some headers of another has no header that is not in the other.
func TestListsAgree(t *testing.T) {
	own := []string{"Postern-*", "X-Postern-*"} // which no policy may use at all
	tests := map[string]struct{ part, whole []string }{
		"Client is of Forwarding":        {Client(), Forwarding()},
		"ProxyIdentity is of Forwarding": {ProxyIdentity(), Forwarding()},
		"Reserved is overriding or ours": {Reserved(), append(Overriding(), own...)},
		"EndToEnd, except ours, credentials and names of requests, is of HTTP or Forwarding": {
			EndToEnd(), slices.Concat(HTTP(), Forwarding(), own, []string{"Authorization", "Cookie", "X-Request-ID", "X-Correlation-ID"}),
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			whole := New(tt.whole...)
			for _, name := range tt.part {
				if !whole.Has(strings.ReplaceAll(name, "*", "any")) {
					t.Errorf("%s is missing in the other list", name)
				}
			}
		})
	}
}
