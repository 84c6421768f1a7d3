package passwordrules

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of context words, in code points: shorter words are ignored, and a password that has fewer than minOwn code points besides
// the words consists mostly of them. maxAccount bounds, in bytes, how much of an account's name is read.
const (
	minWord    = 3
	minOwn     = 8
	maxAccount = 320
)

// hasOnlyContext reports whether too little of a folded password is left without the words of its context.
func (r Rules) hasOnlyContext(folded, account string) bool {
	rest := folded
	for _, word := range r.words(account) {
		rest = strings.ReplaceAll(rest, word, "")
	}
	return len(rest) < len(folded) && utf8.RuneCountInString(rest) < minOwn
}

// words returns the folded words of the context, the longest first: the context words, the account, and the parts of both.
func (r Rules) words(account string) []string {
	if len(account) > maxAccount {
		account = account[:maxAccount]
	}
	var words []string
	for _, name := range append(slices.Clone(r.ContextWords), strings.ToValidUTF8(account, "")) {
		name = Fold(name)
		words = append(words, name)
		words = append(words, strings.FieldsFunc(name, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) })...)
	}
	words = slices.DeleteFunc(words, func(word string) bool { return utf8.RuneCountInString(word) < minWord })
	slices.SortFunc(words, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	return slices.Compact(words)
}
