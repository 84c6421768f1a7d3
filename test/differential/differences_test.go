package differential

import (
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/posterndev/postern/test/differential/stdproxy/framing"
)

// A difference is what the sidecar does differently. erase changes both outcomes so that this difference is gone, and returns true if there
// was one.
type difference struct {
	name, reason string
	erase        func(c *testCase, old, new *outcome) bool
}

// differences are what the sidecar does differently from the previous request path, in the order in which they are erased. The page on the
// engine has the same names.
var differences = []difference{
	{"half a head gets no response", "The client has ended its half in the middle of a head. net/http writes a plain 400 that has none of the policy's headers.", incompleteHead},
	{"a 499 closes the connection", "The client has ended in the middle of a body, so no request can follow; the response says so.", closedRequest},
	{"a trailer name that is no token is left out", "http.Transport refuses the whole request with a 502. The name frames nothing, so the request goes on without it.", malformedAnnouncement},
	{"a malformed response is refused", "What net/http reads leniently ends in 502 app-bad-response: its framing is ambiguous (RFC 9112 §6.3), or its head is not HTTP/1.0 or 1.1.", refusedResponse},
	{"odd trailers of a response are dropped", "Trailer fields that frame or describe the message are not passed on (RFC 9110 §6.5.1). An announcement is passed on as often as it was made, and not if there is no body.", droppedTrailer},
	{"a response that is cut short begins", "The app has ended its response early. The client sees the part that arrived, instead of less of it or a connection that closes.", cutResponse},
	{"a malformed chunk or trailer breaks the response off", "net/http reads over it. RFC 9112 §7.1 has no such line, so where the response ends is not certain.", malformedChunks},
	{"a length has no leading zero", "Content-Length: 05 of the app is passed on as 5: the number is the same.", leadingZero},
	{"the last write of a body may end after the response", "An app may respond before it reads the body. The sidecar waits up to 50 ms for the write in progress, before it closes the connection.", lateBody},
	{"a refused upload is closed and not reset", "The client gets the response and the end of the connection.", closedUpload},
}

// TestDifferencesAreDocumented: the page on the engine has every name and no other one.
func TestDifferencesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/design/0031-http1-engine.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "## Differences")
	lists := strings.SplitN(rest, "### From the app itself", 2)
	if len(lists) != 2 {
		t.Fatal("the page does not have the two lists")
	}
	for i, list := range [][]difference{differences, changes} {
		text, _, _ := strings.Cut(lists[i], "\n## ")
		var want, got []string
		for _, d := range list {
			want = append(want, d.name)
		}
		for line := range strings.Lines(text) {
			if name, ok := strings.CutPrefix(line, "- "); ok {
				name, _, _ = strings.Cut(strings.TrimSpace(name), ":")
				got = append(got, name)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("the page names %q, and the test %q", got, want)
		}
	}
}

// use counts how often each difference of a list occurred.
type use struct {
	list  []difference
	mu    sync.Mutex
	times map[string]int
}

func newUse(list []difference) *use { return &use{list: list, times: map[string]int{}} }

// apply erases the known differences of a case.
func (u *use) apply(c *testCase, before, after *outcome) {
	for _, d := range u.list {
		if !before.equal(after) && d.erase(c, before, after) {
			u.mu.Lock()
			u.times[d.name]++
			u.mu.Unlock()
		}
	}
}

// check fails for each difference that no longer occurs.
func (u *use) check(t *testing.T) {
	t.Helper()
	for _, d := range u.list {
		t.Logf("%s: %d times", d.name, u.times[d.name])
		if u.times[d.name] == 0 {
			t.Errorf("the difference %q no longer occurs: remove it from the list", d.name)
		}
	}
}

// incompleteHead removes exactly what net/http says about half a head.
func incompleteHead(c *testCase, old, _ *outcome) bool {
	plan, last := framing.Read([]byte(c.bytes)), len(old.responses)-1
	want := response{line: "HTTP/1.1 400 Bad Request", body: "400 Bad Request", fields: []string{"Connection: close", "Content-Type: text/plain; charset=utf-8"}}
	if plan.Refused || plan.InBody || len(plan.Rest) == 0 || last < 0 || !old.responses[last].equal(want) {
		return false
	}
	old.responses = old.responses[:last]
	return true
}

// closedRequest adds the field to the last response, which is a 499.
func closedRequest(_ *testCase, old, new *outcome) bool {
	last := len(old.responses) - 1
	if last < 0 || last != len(new.responses)-1 || code(new.responses[last]) != "client-closed-request" || old.responses[last].status() != 499 {
		return false
	}
	r := &old.responses[last]
	r.fields = append(r.fields, "Connection: close")
	slices.Sort(r.fields)
	return true
}

// code returns the code of a problem document, or nothing.
func code(r response) string {
	_, rest, _ := strings.Cut(r.body, `{"type":"https://postern.dev/problems/`)
	found, _, ok := strings.Cut(rest, `","`)
	if !ok {
		return ""
	}
	return found
}

var badAnnouncement = regexp.MustCompile(`(?i)\ntrailer:[^\r]*[^\w ,\r-]`)

// malformedAnnouncement puts the response to a request with a malformed Trailer in the place of a 502.
func malformedAnnouncement(c *testCase, old, new *outcome) (found bool) {
	mine, got := finals(old), finals(new)
	for k, message := range framing.Read([]byte(c.bytes)).Messages {
		if k >= len(mine) || k >= len(got) || k >= len(new.seen) || !badAnnouncement.Match(message) {
			continue
		}
		if r := &old.responses[mine[k][1]]; code(*r) == "app-bad-response" {
			*r, found = new.responses[got[k][1]], true
			old.seen = slices.Insert(old.seen, min(k, len(old.seen)), new.seen[k])
		}
	}
	return found
}

// refusedResponse puts a 502 in the place of a response that net/http has passed on, or has broken off. The app's response must be one of
// those that the sidecar refuses; and what the client has got from net/http must be what net/http reads in it. If its connection has ended
// then, the sidecar's goes on: the 502 is complete.
func refusedResponse(c *testCase, old, new *outcome) (found bool) {
	for k, at := range finals(new) {
		if !isBadGateway(new.responses[at[1]]) || k >= len(c.replies) || malformed(c, k) == "" {
			continue
		}
		mine, interims := finals(old), at[1]-at[0]
		goesOn := k >= len(mine)-1 && old.fate != "kept"
		switch {
		case k == len(mine):
			old.responses = slices.Concat(old.responses[:at[0]], new.responses[at[0]:at[1]+1]) // also in the place of informational ones
		case k > len(mine):
			continue
		case isBadGateway(old.responses[mine[k][1]]) && mine[k][1]-mine[k][0] > interims:
			old.responses = slices.Delete(old.responses, mine[k][0]+interims, mine[k][1]) // malformed informational responses
		case !isBadGateway(old.responses[mine[k][1]]) && old.responses[mine[k][1]].status() == lenientStatus(c, k):
			old.responses = slices.Concat(old.responses[:mine[k][0]], new.responses[at[0]:at[1]+1], old.responses[mine[k][1]+1:])
		default:
			continue
		}
		if found = true; goesOn {
			old.responses = append(old.responses, new.responses[at[1]+1:]...)
			old.seen, old.fate = append(old.seen, new.seen[min(len(old.seen), len(new.seen)):]...), new.fate
		}
	}
	return found
}

// isBadGateway reports whether r is the sidecar's 502, also in response to HEAD.
func isBadGateway(r response) bool {
	return r.status() == http.StatusBadGateway && slices.Contains(r.fields, "Content-Type: application/problem+json") && slices.Contains(r.fields, "Content-Length: 196")
}

// droppedTrailer removes what may not be in a trailer, and corrects the announcement.
func droppedTrailer(c *testCase, old, new *outcome) (found bool) {
	got := finals(new)
	for k, at := range finals(old) {
		if k >= len(got) || k >= len(c.replies) {
			break
		}
		r, want := &old.responses[at[1]], new.responses[got[k][1]]
		before := len(r.trailer)
		r.trailer = slices.DeleteFunc(r.trailer, func(f string) bool {
			return strings.HasPrefix(f, "Content-Length:") || strings.HasPrefix(f, "Set-Cookie:")
		})
		found = found || len(r.trailer) < before
		i := slices.Index(r.fields, "Trailer: X-Sum")
		if i < 0 || slices.Contains(want.fields, "Trailer: X-Sum") {
			continue
		}
		switch n := strings.Count(c.replies[k].raw, "\nTrailer: X-Sum"); {
		case n > 1 && want.status() != 304:
			r.fields[i], found = "Trailer: X-Sum"+strings.Repeat(", X-Sum", n-1), true
		case want.status() == 304 || want.method == "HEAD":
			r.fields, found = slices.Delete(r.fields, i, i+1), true
		}
	}
	return found
}

// cutResponse completes what the client has got of the app's last response: the head if there was none, and the body up to the part that has
// arrived from the app.
func cutResponse(c *testCase, old, new *outcome) bool {
	got, mine := finals(new), finals(old)
	k := len(got) - 1
	if k < 0 || !new.responses[got[k][1]].cut || k >= len(c.replies) || len(mine) < k || len(mine) > k+1 || old.fate == "kept" {
		return false
	}
	want := new.responses[got[k][1]]
	status, body := lenient(c, k)
	if want.status() != status || !strings.HasPrefix(body, want.body) {
		return false
	}
	if len(mine) == k {
		old.responses = append(old.responses[:len(old.responses):len(old.responses)], want)
	} else if r := &old.responses[mine[k][1]]; r.line == want.line && slices.Equal(r.fields, want.fields) && strings.HasPrefix(want.body, r.body) {
		r.body, r.cut = want.body, true
	} else {
		return false
	}
	old.fate = new.fate // a reset, if the end of the connection is the end of the body: the body must not seem complete
	return new.fate == "closed" || new.fate == "reset" && strings.HasPrefix(want.line, "HTTP/1.0")
}

// malformedChunks ends the connection with a response whose chunks or trailer are malformed.
func malformedChunks(c *testCase, old, new *outcome) bool {
	got, mine := finals(new), finals(old)
	k := len(got) - 1
	if k < 0 || k >= len(mine) || k >= len(c.replies) || !badChunks.MatchString(c.replies[k].raw) {
		return false
	}
	r, want := &old.responses[mine[k][1]], new.responses[got[k][1]]
	if !want.cut || r.line != want.line || !slices.Equal(r.fields, want.fields) || !strings.HasPrefix(r.body, want.body) {
		return false
	}
	r.cut, r.trailer, r.body = true, nil, want.body
	old.responses, old.fate = old.responses[:mine[k][1]+1], new.fate
	old.seen = old.seen[:min(len(old.seen), len(new.seen))]
	return new.fate == "closed" || new.fate == "reset" && strings.HasPrefix(want.line, "HTTP/1.0")
}

func leadingZero(_ *testCase, old, _ *outcome) (found bool) {
	for i := range old.responses {
		r := &old.responses[i]
		if at := slices.Index(r.fields, "Content-Length: 05"); at >= 0 {
			r.fields[at], found = "Content-Length: 5", true
		}
	}
	return found
}

// lateBody removes the requests that one of the two has delivered after its response.
func lateBody(c *testCase, old, new *outcome) bool {
	late, never := dropLate(c, new, old), dropLate(c, old, new)
	return late || never
}

func closedUpload(_ *testCase, old, new *outcome) bool {
	last := len(new.responses) - 1
	if last < 0 || code(new.responses[last]) == "" || old.fate != "reset" || new.fate != "closed" {
		return false
	}
	old.fate = "closed"
	return true
}
