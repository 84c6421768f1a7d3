package keyset

import (
	"crypto/sha256"
	"math/big"
	"sync"
)

// checkModulus refuses a modulus that has a small factor or was made by the library of CVE-2017-15361 (ROCA). Both checks take
// microseconds. strength makes the slower checks.
func checkModulus(n *big.Int) error {
	if n.Bit(0) == 0 {
		return refuse(Weak, "its modulus is even")
	}
	residue, small := new(big.Int), new(big.Int)
	for _, p := range smallPrimes() {
		if residue.Mod(n, small.SetUint64(p)).Sign() == 0 {
			return refuse(Weak, "its modulus has the factor %d", p)
		}
	}
	if roca(n) {
		return refuse(Weak, "its modulus is one that a faulty library made (ROCA, CVE-2017-15361); replace this key")
	}
	return nil
}

// smallPrimes returns the odd primes below 752, the range in which NIST SP 800-89 §5.3.3 requires a test for factors.
func smallPrimes() []uint64 {
	const limit = 752
	var primes []uint64
	for n := uint64(3); n < limit; n += 2 {
		prime := true
		for _, p := range primes {
			prime = prime && n%p != 0
		}
		if prime {
			primes = append(primes, n)
		}
	}
	return primes
}

// Parameters of ROCA (Nemec, Sys, Svenda, Klinec and Matyas: The Return of Coppersmith's Attack, CCS 2017, §2): each prime factor
// is k·M + (65537^a mod M), where M is the product of the first primes, up to 167 for the shortest keys.
const (
	rocaGenerator = 65537
	rocaLargest   = 167
)

// roca reports whether n has the fingerprint of ROCA: modulo each small prime that divides M, it is a power of 65537. About one in
// 2^27 sound moduli has it as well.
func roca(n *big.Int) bool {
	residue, small := new(big.Int), new(big.Int)
	for _, p := range smallPrimes() {
		if p > rocaLargest {
			break
		}
		want := residue.Mod(n, small.SetUint64(p)).Uint64()
		power := uint64(1)
		for power != want {
			if power = power * (rocaGenerator % p) % p; power == 1 {
				return false // the powers repeat
			}
		}
	}
	return true
}

// closePrimes is the number of rounds of Fermat's factorization, which finds two factors that are close to each other
// (CVE-2022-26320).
const closePrimes = 100

// factorable refuses a modulus that is prime, or has two factors that are close or equal: anyone can compute the private key.
func factorable(n *big.Int) error {
	if n.ProbablyPrime(0) { // finds every prime
		return refuse(Weak, "its modulus is prime; replace this key")
	}
	a := new(big.Int).Sqrt(n)
	square, root := new(big.Int), new(big.Int)
	if square.Mul(a, a).Cmp(n) < 0 {
		a.Add(a, big.NewInt(1))
	}
	for range closePrimes {
		square.Mul(a, a).Sub(square, n)
		if maybeSquare(square) && root.Mul(root.Sqrt(square), root).Cmp(square) == 0 {
			return refuse(Weak, "its modulus has two factors that are close to each other (CVE-2022-26320); replace this key")
		}
		a.Add(a, big.NewInt(1))
	}
	return nil
}

// maybeSquare reports whether the last six bits of n can be those of a square, which is true for 12 of 64 numbers.
func maybeSquare(n *big.Int) bool {
	const squares = 1<<0 | 1<<1 | 1<<4 | 1<<9 | 1<<16 | 1<<17 | 1<<25 | 1<<33 | 1<<36 | 1<<41 | 1<<49 | 1<<57
	low := uint(0)
	for i := range 6 {
		low |= n.Bit(i) << i
	}
	return squares>>low&1 == 1
}

// Costs of factorable in units of a modulus of 2048 bits, which takes about 5 ms; a modulus of 8192 bits takes 64 units. A set
// gets eagerUnits when it is parsed. Its other keys are checked when they first verify a signature, so that a set of many long keys
// cannot keep its reader busy.
const eagerUnits = 8

func units(n *big.Int) int {
	k := (n.BitLen() + minModulus - 1) / minModulus
	return k * k * k
}

// strength is the outcome of factorable for one modulus, which is computed once.
type strength struct {
	modulus *big.Int
	once    sync.Once
	err     error
}

func (s *strength) check() error {
	s.once.Do(func() { s.err = verdicts.of(s.modulus) })
	return s.err
}

// verdicts remembers the outcomes for the moduli of this process: the operator parses a policy's set for each new pod, and a sidecar
// parses an issuer's set after each change.
var verdicts = memo{known: map[[sha256.Size]byte]error{}}

// maxVerdicts is the maximum number of outcomes in a memo.
const maxVerdicts = 4096

type memo struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]error
}

func (m *memo) of(n *big.Int) error {
	key := sha256.Sum256(n.Bytes())
	m.mu.Lock()
	err, ok := m.known[key]
	m.mu.Unlock()
	if ok {
		return err
	}
	err = factorable(n)
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.known) >= maxVerdicts {
		clear(m.known)
	}
	m.known[key] = err
	return err
}

// knows reports whether the outcome for n is in the memo.
func (m *memo) knows(n *big.Int) bool {
	key := sha256.Sum256(n.Bytes())
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.known[key]
	return ok
}
