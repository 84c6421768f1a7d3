package statetest

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/store/keyspace"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// Password is the password of the users that Grant creates.
const Password = "s3cret-of-the-user"

// ProbeKey is a key that both users of data servers may use, and that no store writes.
var ProbeKey = keyspace.New("revocation", "shop").Key("probe")

// slack is the time by which Redis may round up a TTL.
const slack = time.Second

// Grant creates the user of one of the page's ACL lines on each server, and resets the statistics of the servers.
func (p *Page) Grant(tb testing.TB, user string, servers ...*redistest.Server) {
	tb.Helper()
	args := []any{"ACL", "SETUSER", user, "reset"}
	for _, rule := range p.Rules(user) {
		args = append(args, strings.Replace(rule, ">PASSWORD", ">"+Password, 1))
	}
	for _, s := range servers {
		s.Do(args...)
		s.Do("CONFIG", "RESETSTAT")
	}
}

// Bounds are the values of the names in the page's TTL expressions, for example "absoluteTimeout". They are the maxima in a
// test.
type Bounds map[string]time.Duration

// Check compares the keys that the test of owner left on servers with the page. Every key must match a row of the owner, with
// its type and a TTL within its bound. Every row must have a key, every command of the rows must have been called, and no server
// may have refused a command of the user.
func (p *Page) Check(tb testing.TB, owner string, bounds Bounds, servers ...*redistest.Server) {
	tb.Helper()
	called := map[string]bool{}
	for _, s := range servers { // before Check sends commands itself
		addCalled(tb, s, called)
	}
	rows := p.Owned(owner)
	seen := make([]bool, len(rows))
	for _, s := range servers {
		for _, entry := range list(s.Do("ACL", "LOG")) {
			tb.Errorf("%s: refused: %v", owner, entry)
		}
		for _, key := range Keys(s) {
			i := slices.IndexFunc(rows, func(r Row) bool { return r.Matches(key) })
			if i < 0 {
				tb.Errorf("%s: docs/state.md has no row for the key %q", owner, key)
				continue
			}
			seen[i] = rows[i].check(tb, s, key, bounds) || seen[i]
		}
	}
	for i, r := range rows {
		if !seen[i] {
			tb.Errorf("%s: no key was seen for the row %q", owner, r.Name)
		}
		for _, command := range r.Commands {
			if !called[command] {
				tb.Errorf("%s: the row %q names %s, which was not called", owner, r.Name, command)
			}
		}
	}
}

// check reports whether the key still exists.
func (r Row) check(tb testing.TB, s *redistest.Server, key string, bounds Bounds) bool {
	tb.Helper()
	kind, ttl := fmt.Sprint(s.Do("TYPE", key)), time.Duration(s.Do("PTTL", key).(int64))*time.Millisecond
	if kind == "none" || ttl == -2*time.Millisecond {
		return false // it expired in the meantime
	}
	if kind != r.Type {
		tb.Errorf("%q is a %s; docs/state.md says %s", key, kind, r.Type)
	}
	if most := r.most(tb, bounds); ttl < 0 || ttl > most+slack {
		tb.Errorf("%q expires in %s; docs/state.md says within %s, which is %s here", key, ttl, strings.Join(r.TTL, " or "), most)
	}
	return true
}

// most returns the longest of the row's TTLs.
func (r Row) most(tb testing.TB, bounds Bounds) (most time.Duration) {
	tb.Helper()
	for _, sum := range r.TTL {
		total := time.Duration(0)
		for _, term := range strings.Split(sum, " + ") {
			value, known := bounds[term]
			if !known {
				value, known = duration(term)
			}
			if !known {
				tb.Fatalf("the test gives no bound for %q in the TTL %q", term, sum)
			}
			total += value
		}
		most = max(most, total)
	}
	return most
}

// duration reads a Go duration, or whole days as "90d".
func duration(text string) (time.Duration, bool) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.Atoi(days)
		return time.Duration(n) * 24 * time.Hour, err == nil
	}
	d, err := time.ParseDuration(text)
	return d, err == nil
}

var calls = regexp.MustCompile(`cmdstat_([a-z|]+):calls=([0-9]+)`)

func addCalled(tb testing.TB, s *redistest.Server, called map[string]bool) {
	tb.Helper()
	stats := fmt.Sprint(s.Do("INFO", "commandstats"))
	for _, found := range calls.FindAllStringSubmatch(stats, -1) {
		called[strings.ToUpper(strings.ReplaceAll(found[1], "|", " "))] = true
	}
}

// Keys returns all keys of a server.
func Keys(s *redistest.Server) (keys []string) {
	for cursor := "0"; ; {
		reply := list(s.Do("SCAN", cursor, "COUNT", 1000))
		for _, key := range list(reply[1]) {
			keys = append(keys, fmt.Sprint(key))
		}
		if cursor = fmt.Sprint(reply[0]); cursor == "0" {
			return keys
		}
	}
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

// Units say how many units of a row there are on a server, by the name of the row.
type Units map[string]int

// CheckSizes compares MEMORY USAGE of all keys of a row, per unit, with the page. Other versions of Redis use other encodings,
// so the size may be between two thirds and three halves of the documented one.
func (p *Page) CheckSizes(tb testing.TB, s *redistest.Server, units Units) {
	tb.Helper()
	keys := Keys(s)
	for _, r := range p.Rows {
		n, used := units[r.Name], int64(0)
		if n == 0 {
			continue
		}
		for _, key := range keys {
			if r.Matches(key) {
				used += s.Do("MEMORY", "USAGE", key, "SAMPLES", 0).(int64)
			}
		}
		each := int(used) / n
		tb.Logf("%s: %d bytes each", r.Name, each)
		if each < r.Bytes*2/3 || each > r.Bytes*3/2 {
			tb.Errorf("%s: %d bytes each; docs/state.md says %d", r.Name, each, r.Bytes)
		}
	}
}
