package jwks

import (
	"context"
	"log/slog"
	"slices"

	"github.com/posterndev/postern/api/check/keyset"
)

// logDropped logs the keys of a new set that are not used, unless the set before it had keys that were dropped for the same reasons.
// Issuers publish keys for other uses and algorithms, so only a key that should not be published is worth a warning.
func logDropped(log *slog.Logger, provider string, last *content, next *keyset.Set) {
	var before []string
	if last != nil {
		before = texts(last.set.Dropped())
	}
	list := next.Dropped()
	if slices.Equal(before, texts(list)) {
		return
	}
	level := slog.LevelInfo
	for _, d := range list {
		if d.Reason == keyset.Weak || d.Reason == keyset.Malformed || d.Reason == keyset.SharedSecret {
			level = slog.LevelWarn
		}
	}
	log.Log(context.Background(), level, "keys of the key set are not used", "provider", provider, "count", len(list), "keys", keyset.Summary(list))
}

// texts returns why keys are not used, without their order in the document, which some issuers change.
func texts(list []keyset.Dropped) []string {
	var all []string
	for _, d := range list {
		all = append(all, d.Text)
	}
	slices.Sort(all)
	return all
}
