package authn

import (
	"fmt"
	"testing"

	"github.com/posterndev/postern/sidecar/keys/jwt"
)

func TestCacheIsBounded(t *testing.T) {
	tests := map[string]struct {
		size, tokens, length int
		wantKept             int
	}{
		"by number": {size: 10, tokens: 50, length: 8, wantKept: 10},
		"by bytes":  {size: 4096, tokens: 2000, length: jwt.MaxSize, wantKept: maxCachedBytes / jwt.MaxSize},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := newCache(tt.size)
			if err != nil {
				t.Fatal(err)
			}
			token := func(i int) string { return fmt.Sprintf("%0*d", tt.length, i) }
			for i := range tt.tokens {
				c.Put(token(i), &verified{}, tt.length)
			}
			if n, bytes := c.Len(); n != tt.wantKept || bytes != int64(n*tt.length) {
				t.Fatalf("%d kept, %d bytes; want %d", n, bytes, tt.wantKept)
			}
			if _, ok := c.Get(token(tt.tokens - 1)); !ok {
				t.Error("the latest token was removed")
			}
		})
	}
}
