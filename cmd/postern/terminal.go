package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/posterndev/postern/cmd/postern/internal/screen"
)

// writeJSON writes v as JSON, with a line break at its end, and without characters that a terminal obeys. indent is that of each level; empty for one line.
func writeJSON(w io.Writer, v any, indent string) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(printableJSON(b.Bytes()))
	return err
}

// printableJSON writes the characters of JSON texts that a terminal obeys, such as U+009B and those that change the direction, as JSON escapes them. The
// JSON has the same value.
func printableJSON(encoded []byte) []byte {
	if !bytes.ContainsFunc(encoded, unprintable) {
		return encoded
	}
	out := make([]byte, 0, len(encoded)+64)
	for _, r := range string(encoded) {
		switch {
		case r == '\n' || !unprintable(r): // a line break is between texts
			out = utf8.AppendRune(out, r)
		case r == '\r' || r == '\t':
			out = append(out, ' ')
		default:
			for _, unit := range utf16.AppendRune(nil, r) {
				out = fmt.Appendf(out, "\\u%04x", unit)
			}
		}
	}
	return out
}

// errorLines returns the text of a command's error. It may quote what a server or a file says.
func errorLines(err error) string {
	lines := strings.Split(err.Error(), "\n")
	for i := range lines {
		lines[i] = screen.Escape(lines[i])
	}
	return "postern: " + strings.Join(lines, "\n") + "\n"
}
