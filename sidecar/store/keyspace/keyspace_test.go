package keyspace

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestKey(t *testing.T) {
	long := strings.Repeat("x", maxPlain+1)
	longest := "shop/" + strings.Repeat("p", 253)
	tests := map[string]struct {
		scope string
		parts []string
		want  string
	}{
		"plain":            {scope: "shop/orders", parts: []string{"login", "a"}, want: "postern:room:{11:shop/orders}:5:login:1:a"},
		"no parts":         {scope: "shop/orders", want: "postern:room:{11:shop/orders}"},
		"a long scope":     {scope: longest, parts: []string{"a"}, want: "postern:room:{258:" + longest + "}:1:a"},
		"an empty scope":   {parts: []string{"a"}, want: "postern:room:{0:}:1:a"},
		"an empty part":    {scope: "s", parts: []string{"", "a"}, want: "postern:room:{1:s}:0::1:a"},
		"a hostile part":   {scope: "s", parts: []string{"}:{1:x}:1:a"}, want: "postern:room:{1:s}:11:}:{1:x}:1:a"},
		"the longest part": {scope: "s", parts: []string{long[1:]}, want: "postern:room:{1:s}:64:" + long[1:]},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := New("room", tt.scope).Key(tt.parts...)
			if got != tt.want {
				t.Errorf("Key = %q; want %q", got, tt.want)
			}
		})
	}
}

func TestLongPartIsHashed(t *testing.T) {
	long := strings.Repeat("x", 1<<16)
	k := New("room", "s")
	if got := k.Key(long); len(got) > 64 {
		t.Errorf("a part of 64 KiB gives a key of %d bytes", len(got))
	}
	if k.Key(long) == k.Key(long+"x") {
		t.Error("two long parts give the same key")
	}
	if hash := shown(long); k.Key(long) == k.Key(hash) {
		t.Error("a part that looks like a hash gives the key of the hashed part")
	}
}

func TestHash(t *testing.T) {
	k := New("room", "shop/orders")
	if got, want := k.Hash("iss", "ada@example.com"), "bCazeO0U-2Ir_uyHlX4uppDJhGbF6CHuUNQVVuVZU0M"; got != want { // stored keys have it
		t.Errorf("Hash = %q; want %q", got, want)
	}
	seen := map[string]string{}
	for name, hash := range map[string]string{
		"two names": k.Hash("a", "bc"), "cut elsewhere": k.Hash("ab", "c"), "joined": k.Hash("abc"), "with an empty one": k.Hash("", "abc"),
		"another scope": New("room", "shop/other").Hash("a", "bc"), "another room": New("other", "shop/orders").Hash("a", "bc"),
		"long": k.Hash(strings.Repeat("x", 1<<16)),
	} {
		if len(hash) != 43 {
			t.Errorf("%s: %d characters", name, len(hash))
		}
		if other, taken := seen[hash]; taken {
			t.Errorf("%s and %s have the same hash", name, other)
		}
		seen[hash] = name
	}
}

// FuzzKeyIsInjective decodes the parts from the key. If they can be decoded, no other parts give the same key.
func FuzzKeyIsInjective(f *testing.F) {
	f.Add("shop/orders", "login", "192.0.2.1", "")
	f.Add("a}b", ":1:a", "#", "12:")
	f.Add("", "", strings.Repeat("k", 65), strings.Repeat("}", 64))
	f.Fuzz(func(t *testing.T, scope, a, b, c string) {
		prefix := New("room", scope).Key()
		key := New("room", scope).Key(a, b, c)
		rest, ok := strings.CutPrefix(key, prefix)
		if !ok {
			t.Fatalf("%q does not begin with its keyspace", key)
		}
		if len(rest) > 3*(maxPlain+4) {
			t.Errorf("the parts have %d bytes", len(rest))
		}
		want := []string{shown(a), shown(b), shown(c)}
		if got := decode(t, rest); !slices.Equal(got, want) {
			t.Errorf("%q reads as %q; want %q", rest, got, want)
		}
	})
}

// shown is the form of a part in a key: the part, or its hash.
func shown(part string) string {
	if len(part) <= maxPlain {
		return part
	}
	return string(appendPart(nil, part))
}

func decode(t *testing.T, s string) (parts []string) {
	t.Helper()
	for s != "" {
		s = strings.TrimPrefix(s, ":")
		if strings.HasPrefix(s, "#") {
			parts, s = append(parts, s[:44]), s[44:]
			continue
		}
		digits, rest, ok := strings.Cut(s, ":")
		n, err := strconv.Atoi(digits)
		if !ok || err != nil || n > len(rest) {
			t.Fatalf("unreadable at %q", s)
		}
		parts, s = append(parts, rest[:n]), rest[n:]
	}
	return parts
}
