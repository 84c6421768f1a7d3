package authn

import (
	"encoding/binary"
	"sync"
	"testing"

	"github.com/posterndev/postern/sidecar/keys/jwt"
)

func sumOf(i int) (sum tokenSum) {
	binary.BigEndian.PutUint64(sum[:], uint64(i))
	return sum
}

func TestCacheIsBounded(t *testing.T) {
	tests := map[string]struct {
		size, tokens, length int
		wantKept             int
	}{
		"by number": {size: 10, tokens: 50, length: 1, wantKept: 10},
		"by bytes":  {size: 4096, tokens: 2000, length: jwt.MaxSize, wantKept: maxCachedBytes / jwt.MaxSize},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := newCache(tt.size)
			if err != nil {
				t.Fatal(err)
			}
			for i := range tt.tokens {
				c.add(sumOf(i), &verified{size: tt.length})
			}
			if got := c.tokens.Len(); got != tt.wantKept || c.bytes.Load() != int64(got*tt.length) {
				t.Fatalf("%d kept, %d bytes; want %d", got, c.bytes.Load(), tt.wantKept)
			}
			if _, ok := c.get(sumOf(tt.tokens - 1)); !ok {
				t.Error("the latest token was removed")
			}
		})
	}
}

func TestCacheCountsATokenOnce(t *testing.T) {
	c, err := newCache(8)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			c.add(sumOf(1), &verified{size: 100})
			c.add(sumOf(2), &verified{size: 100})
		})
	}
	wg.Wait()
	if n := c.bytes.Load(); n != 200 {
		t.Fatalf("%d bytes of two tokens", n)
	}
	c.remove(sumOf(1))
	c.remove(sumOf(1))
	if n := c.bytes.Load(); n != 100 {
		t.Fatalf("%d bytes of one token", n)
	}
}
