package resources

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/lookup/service"
)

// TestReloadsShareThePlacesOfAVolume: a new document does not give further places for look-ups on a volume that hangs.
func TestReloadsShareThePlacesOfAVolume(t *testing.T) {
	dir := t.TempDir()
	for _, claim := range []string{"hangs", "works"} {
		if err := os.Mkdir(filepath.Join(dir, claim), 0o700); err != nil {
			t.Fatal(err)
		}
		line := []byte("5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8:3\n") // password
		if err := os.WriteFile(filepath.Join(dir, claim, "pwned.txt"), line, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, err := New(Config{Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler), SecretsDir: t.TempDir(), VolumesDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	places := r.volumePlaces("hangs")
	for range 16 { // as the docs say
		places <- struct{}{}
	}
	for claim, want := range map[string]int{"hangs": 0, "works": 3} {
		a, err := r.Acquire(&compiled.Policy{Namespace: "shop", Name: "orders"})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		source, err := a.Breached(&compiled.BreachedPasswords{File: &compiled.VolumeFile{Claim: claim, Path: "pwned.txt"}, Timeout: compiled.Duration(time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := source.Count(t.Context(), "password"); n != want || errors.Is(err, service.ErrUnavailable) != (want == 0) {
			t.Errorf("%s: %d, %v; want %d", claim, n, err, want)
		}
	}
}
