package authn

import (
	"crypto/sha256"
	"fmt"
	"sync/atomic"

	lru "github.com/hashicorp/golang-lru/v2"
)

// maxCachedBytes bounds the remembered tokens by the sum of their lengths as well: claims take several times that.
const maxCachedBytes = 8 << 20

// tokenSum names a token in memory; the token itself is not kept.
type tokenSum = [sha256.Size]byte

// cache remembers verified tokens, the least recently used of which go first.
type cache struct {
	tokens *lru.Cache[tokenSum, *verified]
	bytes  atomic.Int64
}

// newCache returns a cache for up to size tokens.
func newCache(size int) (*cache, error) {
	c := &cache{}
	var err error
	c.tokens, err = lru.NewWithEvict(size, func(_ tokenSum, v *verified) { c.bytes.Add(-int64(v.size)) })
	if err != nil {
		return nil, fmt.Errorf("making token cache: %w", err)
	}
	return c, nil
}

func (c *cache) get(sum tokenSum) (*verified, bool) { return c.tokens.Get(sum) }

func (c *cache) remove(sum tokenSum) { c.tokens.Remove(sum) }

func (c *cache) add(sum tokenSum, v *verified) {
	c.bytes.Add(int64(v.size))
	if known, _ := c.tokens.ContainsOrAdd(sum, v); known { // another request with the token was faster
		c.bytes.Add(-int64(v.size))
	}
	for c.bytes.Load() > maxCachedBytes {
		if _, _, ok := c.tokens.RemoveOldest(); !ok {
			return
		}
	}
}
