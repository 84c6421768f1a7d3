package wire

import (
	"strings"
	"testing"
)

// TestValueLen: each byte at each place of texts of all short lengths.
func TestValueLen(t *testing.T) {
	for size := range 20 {
		for at := range size {
			for c := range 256 {
				text := []byte(strings.Repeat("a", size))
				text[at] = byte(c)
				checkValueLen(t, text)
			}
		}
	}
}

func FuzzValueLen(f *testing.F) {
	f.Add([]byte("Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: */*"))
	f.Add([]byte("12345678\t\x7f\x80\xff\x1f"))
	f.Fuzz(func(t *testing.T, text []byte) { checkValueLen(t, text) })
}

func checkValueLen(t *testing.T, text []byte) {
	t.Helper()
	want := 0
	for want < len(text) && IsValue(text[want]) {
		want++
	}
	if n, s := ValueLen(text), ValueLen(string(text)); n != want || s != want {
		t.Errorf("%q: %d and %d; want %d", text, n, s, want)
	}
}
