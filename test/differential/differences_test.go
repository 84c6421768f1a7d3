package differential

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A difference is what the sidecar does differently. erase changes both outcomes so that this difference is gone, and returns true if there
// was one.
type difference struct {
	name, reason string
	// sometimes says that it depends on the time whether it occurs.
	sometimes bool
	erase     func(c *testCase, old, new *outcome) bool
}

// differences is the complete list, in the order in which they are erased. docs/design/0031-http1-engine.md has the same names.
var differences = []difference{
	{"an incomplete head gets no response", "The client has ended its half in the middle of a head. net/http writes a plain 400 that has none of the policy's headers.", false, incompleteHead},
	{"a 499 closes the connection", "The client has ended in the middle of a body, so no request can follow; the response says so.", false, closedRequest},
	{"a trailer name that is no token is left out", "http.Transport refuses the whole request with a 502. The name frames nothing, so the request goes on without it.", false, malformedAnnouncement},
	{"a malformed response is refused", "What net/http reads leniently ends in 502 app-bad-response: its framing is ambiguous (RFC 9112 §6.3), or its head is not HTTP/1.0 or 1.1.", false, refusedResponse},
	{"a response that is cut short begins", "The app has ended its response early. The client sees the part that arrived, instead of a connection that closes or less of it.", false, cutResponse},
	{"odd trailers of a response are dropped", "Trailer fields that frame, route or describe the message are not merged or passed on (RFC 9110 §6.5.1), and an announcement may be missing or repeated.", false, droppedTrailer},
	{"a length has no leading zero", "Content-Length: 05 of the app is passed on as 5: the number is the same.", false, only("generated response 601", "generated response 806", "generated response 356", "generated response 610", "generated response 978")},
	{"a body refusal has the policy's fields", "The scanner wrote such a refusal by itself, without CORS fields.", false, only("generated request 1691")},
	{"a refused upload is closed and not reset", "The client gets the response and the end of the connection.", true, only("generated request 2309")},
}

// TestDifferencesAreDocumented: the page on the engine has every name.
func TestDifferencesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/design/0031-http1-engine.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range differences {
		if !strings.Contains(string(page), "\n- "+d.name+"\n") {
			t.Errorf("the page does not name %q", d.name)
		}
	}
}

// use counts how often each difference occurred.
type use struct {
	mu    sync.Mutex
	times map[string]int
}

func newUse() *use { return &use{times: map[string]int{}} }

// apply erases the known differences of a case.
func (u *use) apply(c *testCase, old, new *outcome) {
	for _, d := range differences {
		if old.String() != new.String() && d.erase(c, old, new) {
			u.mu.Lock()
			u.times[d.name]++
			u.mu.Unlock()
		}
	}
}

// check fails for each difference that no longer occurs.
func (u *use) check(t *testing.T) {
	t.Helper()
	for _, d := range differences {
		t.Logf("%s: %d times", d.name, u.times[d.name])
		if u.times[d.name] == 0 && !d.sometimes {
			t.Errorf("the difference %q no longer occurs: remove it from the list", d.name)
		}
	}
}

func incompleteHead(_ *testCase, old, _ *outcome) bool {
	last := len(old.responses) - 1
	if last < 0 || old.responses[last].body != "400 Bad Request" {
		return false
	}
	old.responses = old.responses[:last]
	return true
}

func closedRequest(_ *testCase, _, new *outcome) (found bool) {
	for i := range new.responses {
		r := &new.responses[i]
		if n := slices.Index(r.fields, "Connection: close"); n >= 0 && strings.HasPrefix(r.line, "HTTP/1.1 499") {
			r.fields, found = slices.Delete(r.fields, n, n+1), true
		}
	}
	return found
}

var badAnnouncement = regexp.MustCompile(`(?i)\r\ntrailer: *[^\r]*[^\w ,\r-]`)

func malformedAnnouncement(c *testCase, old, new *outcome) bool {
	if !badAnnouncement.MatchString(c.bytes) && !strings.Contains(c.bytes, "Trailer::") {
		return false
	}
	old.responses, old.seen, old.fate = new.responses, new.seen, new.fate
	return true
}

// has returns whether new has a response that begins with text.
func has(o *outcome, text string) bool {
	return slices.ContainsFunc(o.responses, func(r response) bool { return strings.HasPrefix(r.line[min(len(r.line), len("HTTP/1.x ")):], text) })
}

// refusedResponse accepts a 502 in place of what the other side got, if the app's bytes are those of a generated, odd response.
func refusedResponse(c *testCase, old, new *outcome) bool {
	if !odd(c) || !has(new, "502") || new.fate != "kept" && new.fate != "closed" && new.fate != "kept or closed" {
		return false
	}
	old.responses, old.seen, old.fate = new.responses, new.seen, new.fate
	return true
}

var oddity = regexp.MustCompile(`(?i)HTTP/1\.[2-9]|HTTP/[02]|[^\r\n:]+[ \t]:|\n[^\r\n:]*[^\w\r\n:-][^\r\n:]*:|Transfer-Encoding|\nContent-Length:[^\r\n]*\r?\n(?s:.*)Content-Length|[\x00-\x08\x0b-\x1f\x7f]|\n[^:\r\n]+\r?\n|HTTP/1\.\d [^1-9]`)

func odd(c *testCase) bool {
	return slices.ContainsFunc(c.replies, func(r reply) bool { return oddity.MatchString(r.raw) })
}

// cutResponse accepts that more, or less, of a response arrives that the app did not complete.
func cutResponse(_ *testCase, old, new *outcome) bool {
	if len(new.responses) == 0 || !new.responses[len(new.responses)-1].cut {
		return false
	}
	last := new.responses[len(new.responses)-1]
	if len(old.responses) >= len(new.responses) && !strings.HasPrefix(last.line, old.responses[len(old.responses)-1].line) {
		return false
	}
	old.responses, old.seen, old.fate = new.responses, new.seen, new.fate
	return true
}

func droppedTrailer(c *testCase, old, new *outcome) (found bool) {
	announced := func(r *response) {
		r.fields = slices.DeleteFunc(r.fields, func(f string) bool { return strings.HasPrefix(f, "Trailer: ") })
		r.trailer = nil
	}
	if !slices.ContainsFunc(c.replies, func(r reply) bool { return strings.Contains(r.raw, "Transfer-Encoding") }) {
		return false
	}
	before := old.String() + new.String()
	for _, o := range []*outcome{old, new} {
		for i := range o.responses {
			announced(&o.responses[i])
		}
	}
	return old.String()+new.String() != before
}

// only accepts any difference of the named cases, except one of the canary and of what stays open.
func only(names ...string) func(*testCase, *outcome, *outcome) bool {
	return func(c *testCase, old, new *outcome) bool {
		if !slices.Contains(names, c.name) {
			return false
		}
		old.responses, old.seen, old.fate = new.responses, new.seen, new.fate
		return true
	}
}
