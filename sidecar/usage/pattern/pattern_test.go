package pattern

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func newTable(ignoreCase bool, declared ...string) *Table[int] {
	t := New(func() *int { return new(int) })
	t.Declare(declared, ignoreCase)
	return t
}

func TestFind(t *testing.T) {
	declared := []string{"/", "/api/**", "/api/orders", "/api/orders/*", "/api/orders/mine", "/api/*/items", "/public/**", "/public/*/x/**"}
	tests := map[string]struct{ path, want string }{
		"the root":                    {"/", "/"},
		"literal":                     {"/api/orders", "/api/orders"},
		"a trailing slash":            {"/api/orders/", "/api/orders"},
		"a placeholder":               {"/api/orders/7", "/api/orders/*"},
		"literal before placeholder":  {"/api/orders/mine", "/api/orders/mine"},
		"back from a literal segment": {"/api/orders/items", "/api/orders/*"},
		"a placeholder in between":    {"/api/users/items", "/api/*/items"},
		"the rest":                    {"/api/users/7/name", "/api/**"},
		"an empty rest":               {"/public", "/public/**"},
		"the longest rest":            {"/public/a/x/y/z", "/public/*/x/**"},
		"none":                        {"/else", Other},
		"no path":                     {"*", Other},
		"empty":                       {"", Other},
		"another case":                {"/API/orders", Other},
	}
	table := newTable(false, declared...)
	for name, tt := range tests {
		if got := table.Find(tt.path).Pattern; got != tt.want {
			t.Errorf("%s: %q has the pattern %q; want %q", name, tt.path, got, tt.want)
		}
	}
	if got := newTable(true, declared...).Find("/API/Orders/7").Pattern; got != "/api/orders/*" {
		t.Errorf("without regard to case: %q", got)
	}
}

func TestLearn(t *testing.T) {
	tests := map[string]string{
		"/users": "/users", "/": "/", "/users/7": "/users/*", "/users/7/orders/": "/users/*/orders", "/v1/users/me": "/v1/users/me",
		"/o/3fa85f64-5717-4562-b3fc-2c963f66afa6": "/o/*", "/o/deadbeef01": "/o/*", "/o/feedback": "/o/feedback", "/o/ada@example.com": "/o/*",
		"/o/2026-11-25": "/o/*", "/o/ORD_12345": "/o/*", "/o/été": "/o/*", "/o/" + strings.Repeat("x", 33): "/o/*", "/o/a%2Fb": "/o/*",
		"/robots.txt": "/robots.txt", "/oauth2/token": "/oauth2/token", "/a b/c": "/*/c", "/o/**": "/o/*", "//x//y": "/x/y",
		"/1/2/3/4/5/6/7/8/9/10/11/12": "/*/*/*/*/*/*/*/*/*/*/**",
	}
	for path, want := range tests {
		table := newTable(false, "/**")
		if got := table.Served(path).Pattern; got != want {
			t.Errorf("%q: template %q; want %q", path, got, want)
		}
		if got := table.Find(path).Pattern; got != want {
			t.Errorf("%q: found %q; want %q", path, got, want)
		}
	}
	table := newTable(false, "/users/*")
	if table.Served("/users/x"); table.Learned() != 0 {
		t.Error("a declared path was learned")
	}
}

// TestSecretsAreNotLearned: everybody in the cluster may read the label, so a random token in a path must not be one. Few random texts have the digits
// by which other identifiers are known.
func TestSecretsAreNotLearned(t *testing.T) {
	const base62 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	random := rand.New(rand.NewPCG(1, 2))
	for name, alphabet := range map[string]string{
		"base62": base62, "base64url": base62 + "-_", "letters": base62[:52], "base32": "abcdefghijklmnopqrstuvwxyz234567", "BASE32": base62[:26] + "234567",
	} {
		learned := 0
		for range 1000 {
			token := make([]byte, 16+random.IntN(17))
			for i := range token {
				token[i] = alphabet[random.IntN(len(alphabet))]
			}
			if newTable(false).Served("/reset/"+string(token)).Pattern != "/reset/*" {
				learned++
			}
		}
		if learned > 40 {
			t.Errorf("%s: %d of 1000 tokens became labels", name, learned)
		}
	}
	for _, word := range []string{
		"getUserProfileSettings", "oauth2CallbackV2", "openid-configuration", "IncidentManagementReports", "oauth-authorization-server", "log4j2-settings-v1", "app.bundle.min.js",
		"internationalization", "web3-accounts-v2-settings",
	} {
		if got := newTable(false).Served("/api/" + word).Pattern; got != "/api/"+word {
			t.Errorf("the word %s became %s", word, got)
		}
	}
}

// TestManyValuesBecomeAPlaceholder: names look like words, until there are too many.
func TestManyValuesBecomeAPlaceholder(t *testing.T) {
	table := newTable(false)
	table.Served("/users")
	for i := range 40 {
		table.Served("/users/" + strings.Repeat("x", i/26) + string(rune('a'+i%26)) + "/posts")
	}
	if got := table.Find("/users/somebody/posts").Pattern; got != "/users/*/posts" {
		t.Errorf("%q", got)
	}
	if table.Learned() != 2 {
		t.Errorf("%d templates", table.Learned())
	}
}

// TestBounds: however many paths are served, there are at most MaxLearned templates, and the trie has no more nodes than these need.
func TestBounds(t *testing.T) {
	table, random := newTable(false, "/api/**"), rand.New(rand.NewPCG(1, 2))
	word := func() string {
		b := make([]byte, 1+random.IntN(20))
		for i := range b {
			b[i] = byte('g' + random.IntN(20))
		}
		return string(b)
	}
	for i := range 100_000 {
		path := ""
		for range 1 + random.IntN(14) {
			path += "/" + word()
		}
		if i%2 == 0 {
			path = "/api" + path
		}
		table.Served(path)
	}
	var nodes func(n *node[int]) int
	nodes = func(n *node[int]) (total int) {
		for _, next := range n.children {
			total += nodes(next)
		}
		if n.star != nil {
			total += nodes(n.star)
		}
		return total + 1
	}
	entries, patterns := 0, []string{}
	table.Each(func(e Entry[int]) { entries++; patterns = append(patterns, e.Pattern) })
	if table.Learned() > MaxLearned || entries > MaxLearned+2 || nodes(table.learned) > MaxLearned*(maxDepth+1)*2 {
		t.Errorf("%d templates, %d entries, %d nodes", table.Learned(), entries, nodes(table.learned))
	}
	if slices.Sort(patterns); len(slices.Compact(patterns)) != entries {
		t.Errorf("patterns are repeated: %q", patterns)
	}
}

// TestDeclareKeepsValues: a new document continues the counts of the patterns that it still has.
func TestDeclareKeepsValues(t *testing.T) {
	table := newTable(false, "/a/*", "/b")
	*table.Find("/a/x").Value, *table.Find("/b").Value, *table.Served("/c").Value = 1, 2, 3
	table.Declare([]string{"/a/*", "/c"}, false)
	if *table.Find("/a/x").Value != 1 || *table.Find("/c").Value != 3 || table.Find("/b").Pattern != Other {
		t.Error("a value was lost, or a pattern stayed")
	}
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("/p%d", i))
	}
	table.Declare(many, false)
	n := 0
	if table.Each(func(Entry[int]) { n++ }); n > MaxDeclared+2 {
		t.Errorf("%d entries", n)
	}
}

func TestFindAllocatesNothing(t *testing.T) {
	table := newTable(false, "/api/orders/*", "/**")
	table.Served("/users/7")
	for _, path := range []string{"/api/orders/8", "/users/9", "/none/at/all", "/x"} {
		if n := testing.AllocsPerRun(100, func() { table.Find(path) }); n != 0 {
			t.Errorf("%s: %v allocations", path, n)
		}
	}
}

func FuzzServed(f *testing.F) {
	for _, seed := range []string{"/", "/users/7", "//a//", "/**", "/%2F/\xff", "*"} {
		f.Add(seed)
	}
	table := newTable(false, "/api/**", "/api/*")
	f.Fuzz(func(t *testing.T, path string) {
		e := table.Served(path)
		for i := range len(e.Pattern) {
			if c := e.Pattern[i]; c <= ' ' || c > '~' {
				t.Fatalf("%q became the label %q", path, e.Pattern)
			}
		}
		if len(e.Pattern) > (maxWord+1)*maxDepth+3 || e.Value == nil || table.Learned() > MaxLearned {
			t.Fatalf("%q became the label %q of %d", path, e.Pattern, table.Learned())
		}
	})
}
