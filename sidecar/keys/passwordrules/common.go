package passwordrules

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the list is part of the binary
	"sort"
)

//go:generate go run ../../../hack/blocklist common.bin

// common has sorted hashes of HashSize bytes. NOTICE names its source. It stays in the binary's read-only data, so it needs no heap.
//
//go:embed common.bin
var common []byte

// HashSize is the size of a hash in bytes. With 47000 entries a password that is not on the list is taken for a common one with a
// probability of 47000/2^40, about 4 in 100 million.
const HashSize = 5

// CommonHash returns the first bytes of the SHA-256 of a folded password.
func CommonHash(folded string) [HashSize]byte {
	sum := sha256.Sum256([]byte(folded))
	return [HashSize]byte(sum[:HashSize])
}

func listed(folded string) bool {
	hash := CommonHash(folded)
	n := len(common) / HashSize
	entry := func(i int) []byte { return common[i*HashSize : (i+1)*HashSize] }
	i := sort.Search(n, func(i int) bool { return bytes.Compare(entry(i), hash[:]) >= 0 })
	return i < n && bytes.Equal(entry(i), hash[:])
}

// isCommon reports whether the list has the whole password, or it repeats something short or listed, or it is one ascending or
// descending sequence such as 123456789012345.
func isCommon(folded string) bool {
	runes := []rune(folded)
	if len(runes) == 0 {
		return false
	}
	if listed(folded) || isSequence(runes) {
		return true
	}
	unit := period(runes)
	return unit < len(runes) && (unit <= maxUnit || listed(string(runes[:unit])))
}

// maxUnit is the longest unit, in code points, whose repetition is common whatever the unit is.
const maxUnit = 3

// period returns the length of the shortest prefix whose repetition is the text; the last repetition may be cut short. It is the
// failure function of Knuth, Morris and Pratt.
func period(text []rune) int {
	border := make([]int, len(text))
	for i := 1; i < len(text); i++ {
		k := border[i-1]
		for k > 0 && text[i] != text[k] {
			k = border[k-1]
		}
		if text[i] == text[k] {
			k++
		}
		border[i] = k
	}
	if unit := len(text) - border[len(text)-1]; 2*unit <= len(text) {
		return unit
	}
	return len(text)
}

// isSequence reports whether each code point follows the previous one by the same step of 1 or -1. After 9 comes 0, and after z comes a.
func isSequence(text []rune) bool {
	return len(text) > 2 && (ascends(text, next) || ascends(text, previous))
}

func ascends(text []rune, follows func(rune) rune) bool {
	for i := 1; i < len(text); i++ {
		if text[i] != follows(text[i-1]) {
			return false
		}
	}
	return true
}

func next(r rune) rune {
	switch r {
	case '9':
		return '0'
	case 'z':
		return 'a'
	}
	return r + 1
}

func previous(r rune) rune {
	switch r {
	case '0':
		return '9'
	case 'a':
		return 'z'
	}
	return r - 1
}
