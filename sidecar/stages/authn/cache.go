package authn

import "github.com/posterndev/postern/sidecar/httpkit/cache"

// maxCachedBytes is the maximum sum of the lengths of cached tokens. Their claims take several times as much memory.
const maxCachedBytes = 8 << 20

// newCache returns a cache for up to size tokens. Its keys are whole tokens: one that only resembles a verified token is not found.
func newCache(size int) (*cache.Cache[*verified], error) {
	return cache.New[*verified](size, maxCachedBytes)
}
