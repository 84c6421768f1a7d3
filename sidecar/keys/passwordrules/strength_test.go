package passwordrules

import (
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestScore: the score of passwords whose strength is known, from those that fall at once to those of a password manager.
func TestScore(t *testing.T) {
	r := Rules{ContextWords: []string{"shopfront"}}
	tests := map[string]int{
		"":                                0,
		"abc":                             0,
		"password":                        1,
		"Password":                        1,
		"p4ssw0rd":                        1,
		"PASSWORD1":                       1,
		"password2024":                    2,
		"123456789012345":                 0,
		"qwertyuiopasdfghjkl":             1,
		"aaaaaaaaaaaaaaaaaaaa":            0,
		"abcabcabcabcabc":                 0,
		"shopfront":                       0,
		"shopfrontshopfront":              0,
		"ada@example.com":                 0,
		"shopfront2024!":                  1,
		"monkeymonkeymonkey":              1,
		"tr0ub4dor&3":                     4,
		"orbit-lantern-crayon-fjord":      4,
		"correct horse battery staple":    4,
		"f7Gk2pQz":                        3,
		"f7Gk2pQzX9":                      4,
		"ⓟⓐⓢⓢ":                            1,
		"密码密码密码密码":                        0,
		strings.Repeat("x1", 32):          1,
		"iloveyousunshineprincessdragon!": 4,
	}
	for password, want := range tests {
		if got := r.score(password, "ada@example.com"); got != want {
			t.Errorf("%q has the score %d (10^%.1f guesses); want %d", password, got, estimate([]rune(password), r.words("ada@example.com"), true), want)
		}
	}
}

// FuzzScore: a longer password is never easier than its beginning by more than rounding, and the work is bounded.
func FuzzScore(f *testing.F) {
	f.Add("password", "1")
	f.Add(strings.Repeat("ab", 40), "ß")
	f.Fuzz(func(t *testing.T, password, more string) {
		if !utf8.ValidString(password) || len(password) > 200 {
			return
		}
		g := estimate([]rune(password), []string{"shop"}, true)
		if math.IsNaN(g) || math.IsInf(g, 0) || g < 0 || g > float64(utf8.RuneCountInString(password))+0.001 {
			t.Errorf("%q needs 10^%f guesses", password, g)
		}
	})
}

func BenchmarkScore(b *testing.B) {
	r := Rules{}
	password := strings.Repeat("correct horse battery staple ", 3)
	b.ReportAllocs()
	for b.Loop() {
		r.score(password, "ada@example.com")
	}
}
