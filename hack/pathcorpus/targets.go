package main

import (
	"iter"
	"slices"
	"strings"

	"github.com/posterndev/postern/sidecar/httpkit/route"
)

// protected is the resource that every app serves, and that the rule protects. secret is its content.
const (
	protected = "/admin/secret"
	secret    = "the secret\n"
)

// prefixes come before the first segment.
var prefixes = []string{"/", "//", "///", "/./", "/%2e/", "/x/../", "/x/%2e%2e/", "/x/..;/", "/.;/", "/;/", "/;x/", "/%3Bx/", "/%2F", "%2F", "/%5C", `\`, "/%00/", "/%20/", "http://app/", "//app/", "///app/", "//app:80/", "//u@app/", "//app//", `/\app/`, `\\app/`, "//%61pp/", "/x/%252e%252e/", "/x%2F..%2F"}

// separators come between the segments.
var separators = []string{"/", "//", "///", "%2F", "%2f", "%252F", "%25252F", `\`, "%5C", "%255C", "/./", "/%2e/", "/.%2F", "/x/../", "/x/%2e%2e/", "/x/..;/", ";x=y/", ";/", "%3B/", "%3Bx/", "/;x/", "/.;x/", ";x%2F", "%3Bx%2F", "/%00/", "/%09/", "/%20/", "%c0%af", "%EF%BC%8F", "%E2%88%95", "/?/", "%3F/", "%23/"}

// suffixes come after the last segment.
var suffixes = []string{"", "/", "//", "/.", "/%2e", "%2F", "%5C", `\`, ".", "%2e", "%20", "%00", "%0a", "%09", ";", ";x", "%3B", "%3Bx", ";x/y", "?", "?x", "%3F", "%23", "%23x", "~", "+", "*", ":", "%00.html", ".;x", "%252e", ";%2F.."}

// spellings returns ways to write a segment.
func spellings(segment string) []string {
	out := []string{segment, strings.ToUpper(segment), strings.ToUpper(segment[:1]) + segment[1:], percent(segment), twice(percent(segment))}
	for i := range segment {
		before, letter, after := segment[:i], segment[i:i+1], segment[i+1:]
		out = append(out, before+percent(letter)+after)
		if i == 0 || i == len(segment)-1 {
			out = append(out, before+strings.ToLower(percent(letter))+after, before+percent(strings.ToUpper(letter))+after, before+twice(percent(letter))+after, before+twice(twice(percent(letter)))+after)
		}
	}
	rest := segment[1:]
	return append(out,
		overlong(segment[0])+rest, fullWidth(segment[0])+rest, "%u00"+percent(segment[:1])[1:]+rest, "%00"+segment, segment+"%00", "%20"+segment,
		segment+"%20", segment+"+", segment+".", segment+";x", ";x"+segment, segment+"%3Bx", segment[:2]+"%C4%B1"+segment[3:], segment+"%CC%81", "%E2%80%8B"+segment, segment+"%0d%0a", "."+segment)
}

func percent(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		b.WriteByte('%')
		b.WriteByte(digits[s[i]>>4])
		b.WriteByte(digits[s[i]&15])
	}
	return b.String()
}

func twice(escaped string) string { return strings.ReplaceAll(escaped, "%", "%25") }

// overlong returns two bytes that a lax UTF-8 decoder reads as c.
func overlong(c byte) string { return percent(string([]byte{0xc0 | c>>6, 0x80 | c&0x3f})) }

// fullWidth returns the full-width form of c, which some apps fold to c.
func fullWidth(c byte) string { return percent(string(rune(c) - '!' + '！')) }

// targets returns the targets that a client may send: each combination of two changes to the protected path.
func targets() []string {
	_, path, _ := strings.Cut(protected, "/")
	first, last, _ := strings.Cut(path, "/")
	parts := [5][]string{prefixes, spellings(first), separators, spellings(last), suffixes}
	var out []string
	for i := range parts {
		for j := i + 1; j < len(parts); j++ {
			for _, a := range parts[i] {
				for _, b := range parts[j] {
					target := [5]string{"/", first, "/", last, ""}
					target[i], target[j] = a, b
					out = append(out, strings.Join(target[:], ""))
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// options returns every combination of the path options.
func options() iter.Seq[route.Options] {
	return func(yield func(route.Options) bool) {
		for bits := range 32 {
			for _, empty := range []route.EmptySegments{route.KeepEmpty, route.MergeEmpty, route.RejectEmpty} {
				o := route.Options{
					EncodedSlash: bits&1 > 0, Semicolon: bits&2 > 0, Backslash: bits&4 > 0, DoubleEncoding: bits&8 > 0, IgnoreCase: bits&16 > 0, EmptySegments: empty,
				}
				if !yield(o) {
					return
				}
			}
		}
	}
}

// forwarded returns what the app receives for the targets: every one of them that some options let through, as they forward it, and what
// is sent directly, so that the record also says what each app makes of it.
func forwarded() ([]string, error) {
	all := targets()
	for o := range options() {
		reader, err := route.NewReader(o, nil)
		if err != nil {
			return nil, err
		}
		for _, target := range targets() {
			if path, ok := pathOf(target); ok {
				if got, err := reader.Read(path); err == nil {
					all = append(all, got.Forward)
				}
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// pathOf returns the path of a target as the sidecar takes it: of the absolute form, without the query. Targets that are no path are
// refused before.
func pathOf(target string) (string, bool) {
	if rest, ok := strings.CutPrefix(target, "http://"); ok {
		_, path, _ := strings.Cut(rest, "/")
		target = "/" + path
	}
	path, _, _ := strings.Cut(target, "?")
	return path, strings.HasPrefix(path, "/")
}
