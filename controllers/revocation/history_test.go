package revocation

import (
	"fmt"
	"testing"

	"github.com/posterndev/postern/api/compiled"
)

var (
	x = compiled.RevokedTokens{Name: "x", Kind: compiled.RevokedToken, Issuer: "i", Value: "1", Expires: 9}
	y = compiled.RevokedTokens{Name: "y", Kind: compiled.RevokedToken, Issuer: "i", Value: "2", Expires: 9}
)

// seen returns a document with that revision. Its hash is derived from the revision.
func seen(revision int64, entries ...compiled.RevokedTokens) document {
	return document{hash: fmt.Sprint("h", revision), policy: &compiled.Policy{Revision: revision, Mode: compiled.Enforce, RevokedTokens: entries}}
}

func changed(d document, change func(*compiled.Policy)) document {
	change(d.policy)
	return d
}

func TestHistory(t *testing.T) {
	other := x
	other.Value = "3"
	deleted := func(p *compiled.Policy) { p.Deleted = true }
	shadow := func(p *compiled.Policy) { p.Revocation = &compiled.Revocation{Mode: compiled.Shadow} }
	var many []document
	for i := range int64(maxSeen + 1) {
		many = append(many, seen(i+1, x))
	}
	tests := map[string]struct {
		documents []document
		wantSince int64            // of x; 0 if the current document does not contain it
		wantRuns  map[string]int64 // revisions by hash
	}{
		"none":                               {wantRuns: map[string]int64{"": 0, "h1": 0}},
		"one with it":                        {documents: []document{seen(1, y, x)}, wantSince: 1, wantRuns: map[string]int64{"h1": 1, "h2": 0}},
		"one without it":                     {documents: []document{seen(1, y)}},
		"it is older than the other":         {documents: []document{seen(1, x), seen(2, x, y)}, wantSince: 1, wantRuns: map[string]int64{"h1": 1, "h2": 2}},
		"it was added later":                 {documents: []document{seen(1, y), seen(2, y, x)}, wantSince: 2, wantRuns: map[string]int64{"h1": 1, "h2": 2}},
		"it changed":                         {documents: []document{seen(1, other), seen(2, x)}, wantSince: 2},
		"it was removed and added again":     {documents: []document{seen(1, x), seen(2), seen(3, x)}, wantSince: 3},
		"it was removed":                     {documents: []document{seen(1, x), seen(2)}},
		"the previous document was restored": {documents: []document{seen(1, x), seen(2), seen(1, x)}},
		"the policy was deleted in between":  {documents: []document{seen(1, x), changed(seen(2, x), deleted), seen(3, x)}, wantSince: 3, wantRuns: map[string]int64{"h2": 0}},
		"the policy is deleted":              {documents: []document{seen(1, x), changed(seen(2, x), deleted)}},
		"it was in shadow":                   {documents: []document{changed(seen(1, x), shadow), seen(2, x)}, wantSince: 2, wantRuns: map[string]int64{"h1": 1}},
		"the oldest is forgotten":            {documents: many, wantSince: 1, wantRuns: map[string]int64{"h1": 0, "h2": 2}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHistory()
			var p *past
			for _, d := range tt.documents {
				p = h.see("shop", map[string]document{"accounts": d})["accounts"]
			}
			if got := p.carries([]compiled.RevokedTokens{x}); got != tt.wantSince {
				t.Errorf("carried since %d, want %d", got, tt.wantSince)
			}
			for hash, want := range tt.wantRuns {
				if got := p.running(hash); got != want {
					t.Errorf("%s is revision %d, want %d", hash, got, want)
				}
			}
		})
	}
}

// TestHistoryForgets checks that deleted policies and namespaces use no memory.
func TestHistoryForgets(t *testing.T) {
	h := newHistory()
	h.see("shop", map[string]document{"a": seen(1, x), "b": seen(1, x)})
	h.see("shop", map[string]document{"b": seen(1, x)})
	if n := len(h.namespaces["shop"]); n != 1 {
		t.Errorf("%d policies are remembered, want 1", n)
	}
	h.forget("shop")
	if n := len(h.namespaces); n != 0 {
		t.Errorf("%d namespaces are remembered, want none", n)
	}
}

// TestHeldDocuments checks that a sidecar that runs a held document has the revocations of the current document.
func TestHeldDocuments(t *testing.T) {
	d := seen(5, x)
	d.held = []string{"older"}
	known := newHistory().see("shop", map[string]document{"orders": d})["orders"]
	if got := known.running("older"); got != 5 {
		t.Errorf("it runs revision %d, want that of the current document", got)
	}
	if got := known.running("unknown"); got != 0 {
		t.Errorf("an unknown document has revision %d", got)
	}
}
