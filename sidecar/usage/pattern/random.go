package pattern

// Bounds of a segment that is random: its least number of letters and digits, and how many consonants follow each other in words.
const (
	minRandom     = 16
	maxConsonants = 4
)

// looksRandom reports whether a segment is more likely a random token than words: upper case, lower case and digits alternate, a digit is within letters, or
// many consonants follow each other. A token that is taken for a word would be in a label, which is public; a word that is taken for a token is only *.
func looksRandom(segment string) bool {
	n, changes, run, consonants := 0, 0, 0, 0
	digit, most, before := false, 0, class(0)
	for i := range len(segment) {
		now := classOf(segment[i])
		if now == 0 {
			run, consonants, digit = 0, 0, false
			continue
		}
		n, run = n+1, run+1
		if before != 0 && before != now {
			changes++
		}
		if now == number {
			consonants, digit = 0, digit || run > 1
		} else if consonants++; isVowel(segment[i]) {
			consonants = 0
		}
		if most = max(most, consonants); digit && now != number && run >= minRandom {
			return true
		}
		before = now
	}
	return n >= minRandom && (3*changes > n || most > maxConsonants)
}

// class is a kind of character; 0 for those between words.
type class uint8

const (
	lower class = iota + 1
	upper
	number
)

func classOf(c byte) class {
	switch {
	case c >= 'a' && c <= 'z':
		return lower
	case c >= 'A' && c <= 'Z':
		return upper
	case c >= '0' && c <= '9':
		return number
	}
	return 0
}

func isVowel(c byte) bool {
	switch c | 0x20 {
	case 'a', 'e', 'i', 'o', 'u', 'y':
		return true
	}
	return false
}
