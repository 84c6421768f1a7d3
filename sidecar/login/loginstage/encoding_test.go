package loginstage

import (
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestDecodeSaysWhatToSet: the log of a refused login names the field and the setting, and nothing of the value.
func TestDecodeSaysWhatToSet(t *testing.T) {
	for encoding, value := range map[FieldEncoding]string{"": "s3cret\xe9", UTF8: "s3cret\xff", Latin1: "s3cret\xc3\xa9", Percent: "s3cret%E9"} {
		_, err := encoding.decode(subjectField, value)
		if err == nil || !strings.Contains(err.Error(), "Postern-Subject") || !strings.Contains(err.Error(), "tokens.fieldEncoding") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", encoding, err)
		}
	}
}

// TestLatin1IsNeverUTF8: Node writes the same text in ISO 8859-1 or in UTF-8, which depends on the response's body. The latter must not
// become the name of another user.
func TestLatin1IsNeverUTF8(t *testing.T) {
	for _, name := range []string{"José", "Müller", "東京", "a🔑"} {
		if text, err := Latin1.decode(subjectField, name); err == nil {
			t.Errorf("the UTF-8 of %s is read as %s", name, text)
		}
	}
	for latin1, want := range map[string]string{"Jos\xe9": "José", "M\xfcller": "Müller", "user-42": "user-42", "\xc3\xa9\xe9": "Ã©é"} {
		if text, err := Latin1.decode(subjectField, latin1); text != want || err != nil {
			t.Errorf("%q: %q, %v", latin1, text, err)
		}
	}
}

// FuzzDecode checks that different bytes are never one text, within one encoding.
func FuzzDecode(f *testing.F) {
	f.Add("Jos\xe9")
	f.Add("Jos%C3%A9")
	f.Fuzz(func(t *testing.T, value string) {
		for _, encoding := range []FieldEncoding{UTF8, Latin1, Percent} {
			text, err := encoding.decode(subjectField, value)
			if err != nil {
				continue
			}
			if !utf8.ValidString(text) {
				t.Fatalf("%s: %q gives %q, which is not UTF-8", encoding, value, text)
			}
			back := text
			switch encoding {
			case Latin1:
				b := make([]byte, 0, len(text))
				for _, r := range text {
					b = append(b, byte(r))
				}
				back = string(b)
			case Percent:
				continue // several spellings of one text: %41 and A
			}
			if back != value {
				t.Fatalf("%s: %q gives %q", encoding, value, text)
			}
		}
		if text, err := Percent.decode(subjectField, url.PathEscape(value)); utf8.ValidString(value) && (err != nil || text != value) {
			t.Fatalf("%q gives %q, %v", value, text, err)
		}
	})
}
