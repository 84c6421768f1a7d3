package authn

import (
	"crypto/sha256"
	"fmt"
	"sync/atomic"

	lru "github.com/hashicorp/golang-lru/v2"
)

// maxCachedBytes is the maximum sum of the lengths of cached tokens. Their claims take several times as much memory.
const maxCachedBytes = 8 << 20

// tokenSum identifies a token in the cache. The token itself is not stored.
type tokenSum = [sha256.Size]byte

// cache holds verified tokens. The least recently used are removed first.
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
		return nil, fmt.Errorf("creating token cache: %w", err)
	}
	return c, nil
}

func (c *cache) get(sum tokenSum) (*verified, bool) { return c.tokens.Get(sum) }

func (c *cache) remove(sum tokenSum) { c.tokens.Remove(sum) }

func (c *cache) add(sum tokenSum, v *verified) {
	c.bytes.Add(int64(v.size))
	if known, _ := c.tokens.ContainsOrAdd(sum, v); known { // another request added the token first
		c.bytes.Add(-int64(v.size))
	}
	for c.bytes.Load() > maxCachedBytes {
		if _, _, ok := c.tokens.RemoveOldest(); !ok {
			return
		}
	}
}
