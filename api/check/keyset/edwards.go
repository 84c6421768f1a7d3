package keyset

import (
	"crypto/ed25519"
	"math/big"
	"slices"
)

// curve25519 has the numbers of the curve edwards25519 (RFC 8032 §5.1): −x² + y² = 1 + d·x²·y² modulo p.
type curve25519 struct{ p, d *big.Int }

func edwards25519() curve25519 {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	d := new(big.Int).ModInverse(big.NewInt(121666), p)
	return curve25519{p: p, d: d.Mod(d.Mul(d, big.NewInt(-121665)), p)}
}

// checkEd25519 refuses a public key that is not a canonical encoding of a point on the curve (RFC 8032 §5.1.3), and a point of a low
// order: one signature is valid for almost every text under such a key.
func checkEd25519(key ed25519.PublicKey) error {
	c := edwards25519()
	b := slices.Clone(key)
	b[len(b)-1] &= 0x7f // the highest bit is the sign of x
	slices.Reverse(b)
	y := new(big.Int).SetBytes(b)
	switch {
	case y.Cmp(c.p) >= 0:
		return refuse(Weak, "its x is not the canonical encoding of a point")
	case c.lowOrder(y):
		return refuse(Weak, "its point has a low order, so anyone can make signatures for it")
	case !c.has(y):
		return refuse(Malformed, "its point is not on the curve")
	}
	return nil
}

// xx returns x² = u/v of the points with this y: u = y² − 1, v = d·y² + 1. v is never zero, because −d is not a square.
func (c curve25519) xx(y *big.Int) *big.Int {
	yy := new(big.Int).Mul(y, y)
	u := new(big.Int).Sub(yy, big.NewInt(1))
	v := new(big.Int).Mul(c.d, yy)
	v.Add(v, big.NewInt(1))
	v.ModInverse(v.Mod(v, c.p), c.p)
	return u.Mod(u.Mul(u, v), c.p)
}

// has reports whether the curve has a point with this y.
func (c curve25519) has(y *big.Int) bool { return big.Jacobi(c.xx(y), c.p) >= 0 }

// lowOrder reports whether the points with this y have an order that divides 8. Doubling leads from such a point to the identity in
// three steps, and the y of a doubled point depends on y alone: (y² + x²)/(2 + x² − y²).
func (c curve25519) lowOrder(y *big.Int) bool {
	one := big.NewInt(1)
	y = new(big.Int).Set(y)
	for range 3 {
		if y.Cmp(one) == 0 {
			return true
		}
		xx, yy := c.xx(y), new(big.Int).Mul(y, y)
		top := new(big.Int).Add(yy, xx)
		bottom := new(big.Int).Sub(xx, yy)
		bottom.Add(bottom, big.NewInt(2))
		bottom.Mod(bottom, c.p)
		if bottom.ModInverse(bottom, c.p) == nil {
			return false // no point of the curve: RFC 8032 has no exceptional points
		}
		y = top.Mod(top.Mul(top, bottom), c.p)
	}
	return y.Cmp(one) == 0
}
