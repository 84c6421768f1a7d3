package token

// What tests of this package, which are outside of it, need of its inside.
var (
	ErrClaims    = errClaims
	EncodeClaims = encodeClaims
)
