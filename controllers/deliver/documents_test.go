package deliver

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/controllers/render"
)

var (
	key     = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	others  = ed25519.NewKeyFromSeed([]byte("another key of the same length!!"))
	orders  = types.NamespacedName{Namespace: "shop", Name: render.ConfigMapName("orders")}
	publics = key.Public().(ed25519.PublicKey)
)

func signed(t *testing.T, signer ed25519.PrivateKey, name string, revision int64) compiled.Signed {
	t.Helper()
	s, err := compiled.Sign(&compiled.Policy{
		SchemaVersion: 1, Namespace: "shop", Name: name, Revision: revision, Mode: compiled.Enforce, UndeclaredPorts: compiled.Deny,
		Authorization: compiled.Authorization{Default: compiled.RequireAnonymous, Mode: compiled.Enforce},
		Sidecar:       compiled.SidecarOptions{AccessLog: "All", LogLevel: "info"},
	}, signer)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// configMap returns the ConfigMap of the policy orders with that document.
func configMap(s compiled.Signed) *corev1.ConfigMap { return render.ConfigMap("shop", "orders", s) }

func hashOf(t *testing.T, body []byte) string {
	t.Helper()
	if body == nil {
		return ""
	}
	var s compiled.Signed
	if err := json.Unmarshal(body, &s); err != nil {
		t.Fatal(err)
	}
	return s.Hash()
}

func at(t *testing.T, d *Documents, seen ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	body, _ := d.Next(ctx, orders, 1, seen...)
	return hashOf(t, body)
}

func TestDocumentsStore(t *testing.T) {
	good, newer := signed(t, key, "orders", 5), signed(t, key, "orders", 6)
	broken := configMap(newer)
	delete(broken.Data, compiled.DocumentKey)
	tests := map[string]struct {
		object any
		want   compiled.Signed
	}{
		"a newer one":             {configMap(newer), newer},
		"an older one":            {configMap(signed(t, key, "orders", 4)), good},
		"signed with another key": {configMap(signed(t, others, "orders", 6)), good},
		"another policy's":        {configMap(signed(t, key, "other", 6)), good},
		"no document":             {broken, good},
		"not a ConfigMap":         {&corev1.Pod{}, good},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := NewDocuments(publics, slog.New(slog.DiscardHandler))
			d.OnAdd(configMap(good), true)
			d.OnUpdate(nil, tt.object)
			if got := at(t, d); got != tt.want.Hash() {
				t.Errorf("the document is %s, want %s", got, tt.want.Hash())
			}
			if got := at(t, d, "x", tt.want.Hash()); got != "" {
				t.Errorf("a document that was seen is delivered again: %s", got)
			}
		})
	}
}

func TestDocumentsWakeAllWaiters(t *testing.T) {
	d := NewDocuments(publics, slog.New(slog.DiscardHandler))
	const waiters = 100
	got := make(chan string, waiters)
	for range waiters {
		go func() {
			body, _ := d.Next(t.Context(), orders, 1)
			got <- hashOf(t, body)
		}()
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		d.mu.Lock()
		n := 0
		if e := d.entries[orders]; e != nil {
			n = e.waiters
		}
		d.mu.Unlock()
		if n == waiters {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d polls wait", n)
		}
	}
	s := signed(t, key, "orders", 1)
	d.OnAdd(configMap(s), false)
	for range waiters {
		if h := <-got; h != s.Hash() {
			t.Errorf("a waiter got %q", h)
		}
	}
}

func TestDocumentsForget(t *testing.T) {
	d := NewDocuments(publics, slog.New(slog.DiscardHandler))
	d.OnAdd(configMap(signed(t, key, "orders", 1)), false)
	d.OnDelete(toolscache.DeletedFinalStateUnknown{Obj: configMap(compiled.Signed{})})
	if got := at(t, d); got != "" {
		t.Errorf("a deleted document is delivered: %s", got)
	}
	if len(d.entries) != 0 {
		t.Errorf("%d entries are left", len(d.entries))
	}
}

// TestDocumentsByVersion checks that each sidecar gets the newest document that it can read.
func TestDocumentsByVersion(t *testing.T) {
	of := func(version int, revision int64, signer ed25519.PrivateKey) compiled.Signed {
		p, err := signed(t, key, "orders", revision).Open(publics)
		if err != nil {
			t.Fatal(err)
		}
		p.SchemaVersion = version
		s, err := compiled.Sign(p, signer)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	v2, v1 := of(2, 8, key), of(1, 7, key)
	tests := map[string]struct {
		documents []compiled.Signed
		// want are the hashes for sidecars that read up to version 1, 2 and 3.
		want [3]string
	}{
		"one":                                 {[]compiled.Signed{v1}, [3]string{v1.Hash(), v1.Hash(), v1.Hash()}},
		"both":                                {[]compiled.Signed{v2, v1}, [3]string{v1.Hash(), v2.Hash(), v2.Hash()}},
		"only the newer":                      {[]compiled.Signed{v2}, [3]string{"", v2.Hash(), v2.Hash()}},
		"an old one was restored":             {[]compiled.Signed{v2, of(1, 3, key)}, [3]string{"", v2.Hash(), v2.Hash()}},
		"one signed with another key":         {[]compiled.Signed{v2, of(1, 7, others)}, [3]string{"", v2.Hash(), v2.Hash()}},
		"a newer one signed with another key": {[]compiled.Signed{of(2, 8, others), v1}, [3]string{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := NewDocuments(publics, slog.New(slog.DiscardHandler))
			d.reader.Schema = compiled.Schema{{Name: "x", Version: 2, Used: func(*compiled.Policy) bool { return false }}}
			d.OnAdd(render.ConfigMap("shop", "orders", tt.documents...), false)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			for i, want := range tt.want {
				body, _ := d.Next(ctx, orders, i+1)
				if got := hashOf(t, body); got != want {
					t.Errorf("a sidecar that reads up to version %d gets %q, want %q", i+1, got, want)
				}
			}
		})
	}
}
