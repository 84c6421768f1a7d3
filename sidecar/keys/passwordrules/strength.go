package passwordrules

import (
	"math"
	"slices"
	"strings"
	"unicode"
)

// The guesses that each score stands for, as powers of ten: those of zxcvbn (D. Wheeler, USENIX Security 2016). A password of the score 3
// needs 10^8 guesses or more.
var scores = [...]float64{3, 6, 8, 10}

// The guesses for the parts of a password, as powers of ten.
const (
	// ofListed is a common password: the list has 47000.
	ofListed = 4.2
	// ofContext is a name that an attacker tries first.
	ofContext = 1
	// ofSequence is abcdef, 987654 or qwertz, apart from its length.
	ofSequence = 1
	ofYear     = 2.2
	// ofLeet is added for 0 in place of o and its like.
	ofLeet = 0.3
	// ofRune is a character that is in no part: ten guesses, as zxcvbn assumes, because most are not random.
	ofRune = 1
)

// Lengths of parts, in code points.
const (
	minPart   = 3
	maxListed = 24
)

// rows are neighbours on keyboards, in both directions.
const rows = "qwertyuiop qwertzuiop azertyuiop asdfghjkl zxcvbnm yxcvbnm 1234567890 !@#$%^&*() " +
	"poiuytrewq poiuztrewq poiuytreza lkjhgfdsa mnbvcxz mnbvcxy 0987654321 )(*&^%$#@!"

// leet are the characters that unleet replaces.
const leet = "4@31!05$7"

// unleet replaces characters that stand for letters.
var unleet = strings.NewReplacer("4", "a", "@", "a", "3", "e", "1", "i", "!", "i", "0", "o", "5", "s", "$", "s", "7", "t")

// score estimates how many guesses a password needs, from 0 (fewer than 1000) to 4 (10^10 and more). It splits the password into the
// parts that are cheapest to guess: common passwords, context words, sequences, repetitions and years.
//
// It is our own, because the libraries of zxcvbn for Go load their dictionaries when the program starts: 10 MB and 90 ms in every pod,
// whether or not a policy asks for a score (docs/design/0027-password-strength.md).
func (r Rules) score(normal, account string) int {
	runes := []rune(normal)
	guesses := estimate(runes[:min(len(runes), maxScored)], r.words(account), true)
	for score, least := range scores {
		if guesses < least {
			return score
		}
	}
	return len(scores)
}

// estimate returns the guesses for text. It is 0 for an empty one.
func estimate(text []rune, words []string, repeats bool) float64 {
	folded := []rune(Fold(string(text)))
	if len(folded) != len(text) { // rare characters have another length when folded
		text = folded
	}
	all, offsets := string(folded), make([]int, 0, len(folded)+1)
	for i := range all {
		offsets = append(offsets, i)
	}
	offsets = append(offsets, len(all))
	best := make([]float64, len(text)+1)
	for end := 1; end <= len(text); end++ {
		best[end] = best[end-1] + ofRune
		for start := 0; start+minPart <= end; start++ {
			p := part{text: text[start:end], folded: folded[start:end], word: all[offsets[start]:offsets[end]]}
			if g, ok := p.guesses(words, repeats); ok {
				best[end] = math.Min(best[end], best[start]+g)
			}
		}
	}
	return best[len(text)]
}

// part is a part of a password; word and folded are its folded form.
type part struct {
	text, folded []rune
	word         string
}

// guesses returns the guesses for a part that is a pattern as a whole.
func (p *part) guesses(words []string, repeats bool) (guesses float64, ok bool) {
	text, folded, word := p.text, p.folded, p.word
	guesses = math.Inf(1)
	consider := func(is bool, g float64) {
		if is {
			guesses = math.Min(guesses, g)
		}
	}
	length := math.Log10(float64(len(text)))
	consider(isSequence(folded) || isRow(word), ofSequence+length)
	consider(isYear(word), ofYear)
	for _, w := range words {
		consider(w == word, ofContext+ofCapitals(text))
	}
	if len(folded) <= maxListed {
		consider(listed(word), ofListed+ofCapitals(text))
		if strings.ContainsAny(word, leet) {
			consider(listed(unleet.Replace(word)), ofListed+ofCapitals(text)+ofLeet)
		}
	}
	if repeats && slices.Contains(folded[1:], folded[0]) {
		if unit := period(folded); unit < len(folded) {
			consider(true, estimate(text[:unit], words, false)+math.Log10(float64(len(text))/float64(unit)))
		}
	}
	return guesses, !math.IsInf(guesses, 1)
}

// ofCapitals returns the guesses for which letters are capitals: few if only the first or all are.
func ofCapitals(text []rune) float64 {
	upper, letters := 0, 0
	for _, c := range text {
		if unicode.IsLetter(c) {
			letters++
		}
		if unicode.IsUpper(c) {
			upper++
		}
	}
	switch {
	case upper == 0:
		return 0
	case upper == letters, upper == 1 && unicode.IsUpper(text[0]):
		return math.Log10(2)
	}
	return float64(min(upper, letters-upper)+1) * math.Log10(2)
}

func isRow(word string) bool { return !strings.Contains(word, " ") && strings.Contains(rows, word) }

// isYear reports whether word is a year of a living person's time.
func isYear(word string) bool {
	return len(word) == 4 && (strings.HasPrefix(word, "19") || strings.HasPrefix(word, "20")) && strings.Trim(word, "0123456789") == ""
}
