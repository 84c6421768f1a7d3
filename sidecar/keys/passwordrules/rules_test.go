package passwordrules

import (
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

var nist = Rules{MinLength: 15, MaxLength: 128, Blocklist: true, ContextWords: []string{"Shop"}}

func codes(failures []Failure) (codes []Code) {
	for _, f := range failures {
		codes = append(codes, f.Code)
	}
	return codes
}

func TestJudge(t *testing.T) {
	short := Rules{MinLength: 8, MaxLength: 64, Blocklist: true, ContextWords: []string{"shop"}}
	all := Rules{MinLength: 8, Require: []string{"Lower", "Upper", "Digit", "Symbol"}}
	tests := map[string]struct {
		rules             Rules
		password, account string
		want              []Code
	}{
		"14 code points":                    {nist, "tidal orbit 12", "", []Code{TooShort}},
		"15 code points":                    {nist, "tidal orbit 123", "", nil},
		"15 of four bytes":                  {nist, "🐙🦊🐢🦉🐝🦀🐌🦇🐍🦄🐊🦋🐘🦒🐧", "", nil},
		"128":                               {nist, strings.Repeat("tidal5orbit4lane", 7) + "0123456789abcdeg", "", nil},
		"129":                               {nist, strings.Repeat("tidal5orbit4lane", 7) + "0123456789abcdegh", "", []Code{TooLong}},
		"more than is judged":               {nist, strings.Repeat("x", MaxBytes+1), "", []Code{TooLong}},
		"one that becomes 18 by NFKC":       {nist, "ﷺ", "", []Code{TooShort}},
		"30 that become 15 by NFKC":         {nist, strings.Repeat("e\u0301", 7) + "a", "", []Code{TooShort}},
		"a NUL":                             {nist, "tidal\x00orbit 12345", "", []Code{InvalidCharacters}},
		"a C1 control":                      {nist, "tidal\u0085orbit 12345", "", []Code{InvalidCharacters}},
		"not UTF-8":                         {nist, "tidal\xfforbit 12345", "", []Code{InvalidCharacters}},
		"listed":                            {short, "trustno1", "", []Code{Common}},
		"listed, in capitals":               {short, "TrustNo1", "", []Code{Common}},
		"listed, full width":                {short, "ｔｒｕｓｔｎｏ１", "", []Code{Common}},
		"listed, within a longer one":       {short, "a trustno1 of mine", "", nil},
		"listed, with the list off":         {Rules{MinLength: 8}, "trustno1", "", nil},
		"listed twice":                      {short, "trustno1trustno1", "", []Code{Common}},
		"listed one and a half times":       {short, "trustno1trus", "", nil},
		"one character":                     {nist, strings.Repeat("x", 20), "", []Code{Common}},
		"three characters, cut short":       {nist, "xyqxyqxyqxyqxyqxy", "", []Code{Common}},
		"four characters that no list has":  {nist, strings.Repeat("x7q%", 4), "", nil},
		"ascending":                         {nist, "567890123456789", "", []Code{Common}},
		"descending":                        {nist, "ponmlkjihgfedcba", "", []Code{Common}},
		"ascending beyond z":                {nist, "qrstuvwxyzabcdef", "", []Code{Common}},
		"the service":                       {nist, "SHOPshopShop-2024", "", []Code{Context}},
		"the service among others":          {nist, "the shop at the corner", "", nil},
		"the account":                       {nist, "ada@example.com", "ada@example.com", []Code{Context}},
		"the account in another case":       {nist, "ADA.Lovelace.1815", "ada.lovelace@example.com", []Code{Context}},
		"the domain":                        {nist, "example!example!", "ada@example.com", []Code{Context}},
		"an account in full width":          {nist, "lovelace-lovelace", "ｌｏｖｅｌａｃｅ", []Code{Context}},
		"an account of two letters":         {nist, "bobobobobabob 12", "bo", nil},
		"a long account":                    {nist, "tidal orbit 12345", strings.Repeat("a.b-c_", 1<<16), nil},
		"nothing required is there":         {all, "🐙🐙🐙🐙🐙🐙🐙🐙", "", []Code{MissingLower, MissingUpper, MissingDigit}},
		"no symbol":                         {all, "abcdeF12", "", []Code{MissingSymbol}},
		"a digit of another script":         {all, "abcdeF٣-", "", nil},
		"weak":                              {Rules{MinScore: 3}, "march2024", "", []Code{Weak}},
		"strong":                            {Rules{MinScore: 3}, "tidal lantern orbit 7", "", nil},
		"weak by the account":               {Rules{MinScore: 3}, "lovelacelantern", "lovelacelantern@example.com", []Code{Context, Weak}},
		"strong only beyond what is scored": {Rules{MinScore: 1}, strings.Repeat("a", maxScored) + "tidal lantern orbit 7", "", []Code{Weak}},
		"nothing is asked":                  {Rules{}, "", "", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := codes(tt.rules.Judge(tt.password, tt.account)); !slices.Equal(got, tt.want) {
				t.Errorf("%q; want %q", got, tt.want)
			}
		})
	}
}

// TestTheList: the embedded file is sorted, so that every entry is found, and its size and probability of error are as documented.
func TestTheList(t *testing.T) {
	if len(common)%HashSize != 0 || len(common)/HashSize < 46000 || len(common)/HashSize > 48000 {
		t.Fatalf("%d bytes", len(common))
	}
	for i := HashSize; i < len(common); i += HashSize {
		if string(common[i-HashSize:i]) >= string(common[i:i+HashSize]) {
			t.Fatalf("entry %d is not greater than the one before it", i/HashSize)
		}
	}
	for _, password := range []string{"password", "123456", "qwerty", "letmein", "iloveyou", "trustno1", "password1"} {
		if !listed(password) {
			t.Errorf("%q is not listed", password)
		}
	}
	notice, err := os.ReadFile("../../../NOTICE")
	if err != nil || !strings.Contains(string(notice), "github.com/trustelem/zxcvbn v1.0.1") {
		t.Errorf("NOTICE does not name the source: %v", err)
	}
}

func FuzzJudge(f *testing.F) {
	f.Add("tidal lantern orbit 7", "ada@example.com")
	f.Add("ﷺ\x00\xff", "ｌ")
	f.Add(strings.Repeat("a\u0301", 100), "\xff\xfe.\u0301")
	f.Add("İıſẞ", "K")
	f.Fuzz(func(t *testing.T, password, account string) {
		rules := nist
		rules.MinScore, rules.Require = 2, []string{"Lower", "Upper", "Digit", "Symbol"}
		failures := rules.Judge(password, account)
		if again := rules.Judge(password, account); !slices.Equal(failures, again) {
			t.Fatalf("%v, then %v", failures, again)
		}
		got := codes(failures)
		for _, code := range got {
			if n := slices.Index(got, code); slices.Contains(got[n+1:], code) {
				t.Fatalf("%q twice", code)
			}
		}
		if n := utf8.RuneCountInString(password); len(password) <= MaxBytes && n < rules.MinLength != slices.Contains(got, TooShort) && n < rules.MinLength {
			t.Fatalf("%d code points, and %q", n, got)
		}
		if strings.ContainsRune(password, 0) && len(password) <= MaxBytes && !slices.Contains(got, InvalidCharacters) {
			t.Fatalf("a NUL, and %q", got)
		}
		if Fold(Fold(password)) != Fold(password) && utf8.ValidString(password) {
			t.Fatalf("folding %q again changes it", password)
		}
	})
}
