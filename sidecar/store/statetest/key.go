package statetest

import (
	"regexp"
	"strconv"
	"strings"
)

// key is a decoded key of package keyspace.
type key struct {
	room, scope string
	parts       []string
	// tail follows the last part. It has no length prefix.
	tail string
}

var head = regexp.MustCompile(`^postern:([a-z]+):\{`)

// decode decodes a key. It returns false if text is not a key of package keyspace.
func decode(text string) (k key, ok bool) {
	found := head.FindStringSubmatch(text)
	if found == nil {
		return k, false
	}
	k.room = found[1]
	scope, rest, ok := cutPart(text[len(found[0]):])
	if !ok || !strings.HasPrefix(rest, "}") {
		return k, false
	}
	k.scope, rest = scope, rest[1:]
	for strings.HasPrefix(rest, ":") {
		part, after, ok := cutPart(rest[1:])
		if !ok {
			break
		}
		k.parts, rest = append(k.parts, part), after
	}
	k.tail = rest
	return k, true
}

// cutPart cuts "length:bytes", or "#" and a hash of 43 characters, from the start of s.
func cutPart(s string) (part, rest string, ok bool) {
	if strings.HasPrefix(s, "#") && len(s) >= 44 {
		return s[:44], s[44:], true
	}
	digits, rest, ok := strings.Cut(s, ":")
	n, err := strconv.ParseUint(digits, 10, 16)
	if !ok || err != nil || int(n) > len(rest) {
		return "", s, false
	}
	return rest[:n], rest[n:], true
}

var placeholder = regexp.MustCompile(`<[^>]*>`)

// Matches reports whether text is a key of the row. A placeholder stands for one part with its length, and "…" for any further
// parts.
func (r Row) Matches(text string) bool {
	k, ok := decode(text)
	if !ok {
		return false
	}
	pattern, more := strings.CutSuffix(r.Key, "…")
	// Replacing each placeholder by a part makes the pattern a key.
	want, ok := decode(placeholder.ReplaceAllStringFunc(pattern, func(name string) string {
		return strconv.Itoa(len(name)) + ":" + name
	}))
	if !ok || k.room != want.room || k.tail != want.tail || len(k.parts) < len(want.parts) || len(k.parts) > len(want.parts) && !more {
		return false
	}
	if policy := want.scope == "<namespace/policy>"; strings.Contains(k.scope, "/") != policy {
		return false
	}
	for i, part := range want.parts {
		if !placeholder.MatchString(part) && part != k.parts[i] {
			return false
		}
	}
	return true
}
