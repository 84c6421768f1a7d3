package token

// Internals that the external tests of this package need.
var (
	ErrClaims    = errClaims
	EncodeClaims = encodeClaims
)
