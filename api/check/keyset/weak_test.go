package keyset

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"math/big"
	"slices"
	"strings"
	"testing"
)

func prime(t testing.TB, bits int) *big.Int {
	t.Helper()
	p, err := rand.Prime(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// rocaPrime makes a prime like the library of CVE-2017-15361: k·M + (65537^a mod M).
func rocaPrime(t testing.TB, bits int) *big.Int {
	t.Helper()
	m := big.NewInt(2)
	for _, p := range smallPrimes() {
		if p <= 701 { // the primes of keys of 1984 bits and more
			m.Mul(m, new(big.Int).SetUint64(p))
		}
	}
	for {
		a, err := rand.Int(rand.Reader, m)
		if err != nil {
			t.Fatal(err)
		}
		low := new(big.Int).Exp(big.NewInt(rocaGenerator), a, m)
		least := new(big.Int).Lsh(big.NewInt(3), uint(bits-2)) // so that a product of two has all bits
		k := new(big.Int).Div(least, m)
		p := k.Mul(k.Add(k, big.NewInt(a.Int64()&0xffff+1)), m).Add(k, low)
		if p.BitLen() == bits && p.ProbablyPrime(10) {
			return p
		}
	}
}

// closePrime returns a prime shortly after p.
func closePrime(p *big.Int) *big.Int {
	q := new(big.Int).Add(p, big.NewInt(2))
	for !q.ProbablyPrime(10) {
		q.Add(q, big.NewInt(2))
	}
	return q
}

func product(factors ...*big.Int) *big.Int {
	n := big.NewInt(1)
	for _, f := range factors {
		n.Mul(n, f)
	}
	return n
}

func TestWeakModuli(t *testing.T) {
	p := prime(t, 1024)
	tests := map[string]struct {
		modulus *big.Int
		want    string
	}{
		"prime":                   {prime(t, 2048), "modulus is prime"},
		"square":                  {product(p, p), "close to each other"},
		"close factors":           {product(p, closePrime(p)), "close to each other"},
		"small factor":            {product(big.NewInt(743), p, p), "the factor 743"},
		"even":                    {product(big.NewInt(2), p, p), "modulus is even"},
		"ROCA":                    {product(rocaPrime(t, 1024), rocaPrime(t, 1024)), "ROCA"},
		"only one factor of ROCA": {product(rocaPrime(t, 1024), prime(t, 1024)), ""},
		"two primes":              {rsaKey(t).N, ""},
		"three primes":            {product(prime(t, 700), prime(t, 701), prime(t, 702)), ""},
		"not odd and short":       {product(big.NewInt(4), prime(t, 1024)), "modulus is not between"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			good, _ := edJWK(t, "good")
			set, err := Parse(keyset(t, good, rsaJWK(t, "bad").with("n", b64(tt.modulus.Bytes()))), Options{Algorithms: every()})
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, d := range set.Dropped() {
				got += d.String()
				if d.Reason != Weak {
					t.Errorf("reason %s; want weak", d.Reason)
				}
			}
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("dropped %q; want %q", got, tt.want)
			}
		})
	}
}

// TestRocaFingerprint: moduli of the faulty library have the fingerprint, and other numbers do not.
func TestRocaFingerprint(t *testing.T) {
	if !roca(product(rocaPrime(t, 1024), rocaPrime(t, 1024))) {
		t.Error("a modulus of ROCA is not found")
	}
	for range 200 {
		n := new(big.Int).SetBit(prime(t, 512), 0, 1)
		if roca(n) {
			t.Errorf("%x is taken for one of ROCA", n)
		}
	}
}

// TestManyLongKeys: a set of many long moduli is parsed without the slow checks of all of them, and a weak key among the others is
// refused when it verifies its first signature.
func TestManyLongKeys(t *testing.T) {
	p := prime(t, 1024) // common to all, because making primes is slow
	var keys []jwk
	for range eagerUnits {
		keys = append(keys, rsaJWK(t, "").with("kid", nil).with("n", b64(product(p, prime(t, 1024)).Bytes())).with("alg", "PS512"))
	}
	// n is prime, so its private exponent is the inverse of e modulo n−1.
	n := prime(t, 2048)
	e := big.NewInt(65537)
	d := new(big.Int).ModInverse(e, new(big.Int).Sub(n, big.NewInt(1)))
	keys = append(keys, rsaJWK(t, "late").with("n", b64(n.Bytes())))
	set, err := Parse(keyset(t, keys...), Options{Algorithms: every()})
	if err != nil || set.Len() != len(keys) {
		t.Fatalf("%d keys, %v; want %d", set.Len(), err, len(keys))
	}
	found, err := set.Lookup("late", "RS256")
	if err != nil {
		t.Fatal(err)
	}
	if err := rsa.VerifyPKCS1v15(&rsa.PublicKey{N: n, E: 65537}, crypto.SHA256, digest("a.b"), forge(n, d, "a.b")); err != nil {
		t.Fatalf("the test's signature is not valid: %v", err)
	}
	if err := found[0].Verify("a.b", forge(n, d, "a.b")); err == nil || !strings.Contains(err.Error(), "modulus is prime") {
		t.Errorf("Verify = %v; want that the modulus is prime", err)
	}
	// The next parse knows the outcome.
	again, err := Parse(keyset(t, keys...), Options{Algorithms: every()})
	if err != nil || len(again.Dropped()) != 1 {
		t.Errorf("parsed again: dropped %v, %v; want the prime", again.Dropped(), err)
	}
}

func digest(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

// forge makes a signature of RFC 8017 §8.2.1 with the private exponent d.
func forge(n, d *big.Int, text string) []byte {
	prefix, _ := hex.DecodeString("3031300d060960864801650304020105000420")
	size := (n.BitLen() + 7) / 8
	body := append(prefix, digest(text)...)
	em := append([]byte{0, 1}, slices.Repeat([]byte{0xff}, size-len(body)-3)...)
	em = append(append(em, 0), body...)
	return new(big.Int).Exp(new(big.Int).SetBytes(em), d, n).FillBytes(make([]byte, size))
}

// lowOrderPoints are the encodings of points whose order divides 8, and the non-canonical ones (Chalkias, Garillot and Nikolaenko:
// Taming the Many EdDSAs, 2020, table 1).
func lowOrderPoints() map[string]string {
	return map[string]string{
		"order 1":                        "0100000000000000000000000000000000000000000000000000000000000000",
		"order 2":                        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"order 4":                        "0000000000000000000000000000000000000000000000000000000000000000",
		"order 4, other sign":            "0000000000000000000000000000000000000000000000000000000000000080",
		"order 8, first":                 "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"order 8, second":                "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"order 8, third":                 "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"order 8, fourth":                "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"order 1, sign bit":              "0100000000000000000000000000000000000000000000000000000000000080",
		"order 2, sign bit":              "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"order 4, not canonical":         "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"order 4, not canonical, sign":   "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"order 1, not canonical":         "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"order 1, not canonical, sign":   "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"not canonical":                  "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"not canonical, the largest one": "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	}
}

func TestWeakEd25519Keys(t *testing.T) {
	for name, text := range lowOrderPoints() {
		t.Run(name, func(t *testing.T) {
			x, err := hex.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}
			key := jwk{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": b64(x)}
			good, _ := edJWK(t, "good")
			set, err := Parse(keyset(t, good, key), Options{Algorithms: every()})
			if err != nil || len(set.Dropped()) != 1 || set.Dropped()[0].Reason != Weak {
				t.Fatalf("dropped %v, %v; want the key as weak", set.Dropped(), err)
			}
		})
	}
}

// TestSignatureUnderIdentityKey: the constant signature that is valid for every text under the identity.
func TestSignatureUnderIdentityKey(t *testing.T) {
	identity := make([]byte, 32)
	identity[0] = 1
	sig := make([]byte, 64)
	sig[0] = 1 // R is the identity, S is zero
	if !ed25519.Verify(identity, []byte("a.b"), sig) {
		t.Fatal("crypto/ed25519 refuses it as well; then checkEd25519 is no longer needed")
	}
	if _, err := Parse(keyset(t, jwk{"kty": "OKP", "crv": "Ed25519", "x": b64(identity)}), Options{Algorithms: []string{"EdDSA"}}); err == nil {
		t.Error("a set with the identity as its only key is accepted")
	}
}

func TestEd25519PointNotOnCurve(t *testing.T) {
	c := edwards25519()
	for y := int64(2); ; y++ {
		if c.has(big.NewInt(y)) {
			continue
		}
		x := make([]byte, 32)
		x[0] = byte(y)
		if err := checkEd25519(x); err == nil || !strings.Contains(err.Error(), "not on the curve") {
			t.Errorf("y = %d: %v; want that it is not on the curve", y, err)
		}
		return
	}
}

func TestSoundEd25519Keys(t *testing.T) {
	for range 50 {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkEd25519(public); err != nil {
			t.Errorf("%x: %v", public, err)
		}
	}
}
