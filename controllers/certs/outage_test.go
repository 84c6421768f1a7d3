package certs

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/posterndev/postern/controllers/contextlog"
)

// TestOutageIsLoggedOnce: the webhook's configuration may be missing for days, and is looked for every five seconds.
func TestOutageIsLoggedOnce(t *testing.T) {
	var log strings.Builder
	ctx := contextlog.Into(context.Background(), slog.New(slog.NewTextHandler(&log, nil)))
	failing := outage{what: "the certificates cannot be checked", ended: "they can be checked again", kind: "Secret"}
	missing := errors.New("missing")
	for _, err := range []error{nil, missing, missing, missing, errors.New("forbidden"), nil, nil, missing} {
		failing.observe(ctx, err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	failing.observe(ended, context.Canceled)
	var got []string
	for line := range strings.Lines(log.String()) {
		_, line, _ = strings.Cut(line, "level=")
		got = append(got, strings.TrimSpace(line))
	}
	want := []string{
		`ERROR msg="the certificates cannot be checked" kind=Secret error=missing`,
		`ERROR msg="the certificates cannot be checked" kind=Secret error=forbidden`,
		`INFO msg="they can be checked again" kind=Secret`,
		`ERROR msg="the certificates cannot be checked" kind=Secret error=missing`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("logged:\n%s", strings.Join(got, "\n"))
	}
}
