package loginstage

import (
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestDecodeSaysWhatToSet: the log of a refused login names the field and the setting, and nothing of the value.
func TestDecodeSaysWhatToSet(t *testing.T) {
	for encoding, value := range map[FieldEncoding]string{"": "s3cret\xe9", UTF8: "s3cret\xff", Percent: "s3cret%E9"} {
		_, err := encoding.decode(subjectField, value)
		if err == nil || !strings.Contains(err.Error(), "Postern-Subject") || !strings.Contains(err.Error(), "tokens.fieldEncoding") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", encoding, err)
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
