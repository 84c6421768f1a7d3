package differential

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/posterndev/postern/test/differential/stdproxy/framing"
)

// changes are what the sidecar changes of what passes between a client and the app, without any section in the policy. Each changes what was
// seen without the sidecar to what must be seen with it. The page on the engine has the same names.
var changes = []difference{
	{"a request that could be read in two ways is refused", "net/http reads some of them, and refuses the others with a page of its own.", refusedRequest},
	{"half a head gets no response", "The client has ended its half in the middle of a head. net/http's server says 400.", incomplete},
	{"half a body gets a 499", "The app does not get a request whose body is not complete, and cannot answer it.", clientGone},
	{"a malformed response becomes a 502", "The client gets no bytes whose meaning is not certain.", badGateway},
	{"the app learns who the client is", "X-Forwarded-For, -Host and -Proto and X-Request-Id are set, and what the client says in such fields is removed.", forwarded},
	{"fields of the client's connection end at the sidecar", "RFC 9110 §7.6.1. Only a WebSocket handshake and TE: trailers are passed on.", hopByHop},
	{"reserved names are removed", "Only the sidecar may send them.", reservedNames},
	{"the request is written again", "It is HTTP/1.1 with a Host and one User-Agent, and Content-Length is the number (RFC 9110 §2.5, §7.2, §8.6).", requestAgain},
	{"a trailer is passed on only if it was announced", "RFC 9110 §6.5.1: a trailer must not replace a field that was checked.", requestTrailer},
	{"the sidecar sends 100 Continue itself", "Other informational responses are passed on, not to HTTP/1.0 clients (RFC 9110 §15.2).", informational},
	{"the target is written as the rules match it", "Every escape that is not needed is removed, and others are in upper case; the host of an absolute target is in Host (RFC 3986 §6.2.2).", pathAgain},
	{"an app that responds early may not get the body", "The client has its response. The rest of the body is of no use, and its connection is closed.", earlyBody},
	{"the response has its request's number", "X-Request-Id is that of the log.", requestNumber},
	{"the response is written again", "Names are canonical, lines are not folded, the reason is the usual one, and Date is added (RFC 9110 §6.6.1, RFC 9112 §5.2).", writtenAgain},
	{"a trailer of the response is filtered", "RFC 9110 §6.5.1.", responseTrailer},
	{"each connection frames a body itself", "The app's length stays. A body of unknown length is sent in chunks, to an HTTP/1.0 client until the end.", framedAgain},
	{"what the app breaks off is broken off", "The client sees the part that is valid, and then the end of the connection.", cutShort},
	{"the end of an HTTP/1.0 connection ends a body", "Its client does not know chunks.", olderClient},
	{"fields of the app's connection end at the sidecar", "RFC 9110 §7.6.1. The sidecar says itself whether it keeps the client's connection.", responseHopByHop},
}

// finals returns for each final response where it begins, with the informational ones before it, and where it is.
func finals(o *outcome) (all [][2]int) {
	start := 0
	for i, r := range o.responses {
		if status := r.status(); status < 100 || status >= 200 || status == http.StatusSwitchingProtocols || r.cut {
			all = append(all, [2]int{start, i})
			start = i + 1
		}
	}
	return all
}

// status returns 0 for what is no status.
func (r response) status() int {
	words := strings.Fields(r.line)
	if len(words) < 2 || len(words[1]) != 3 {
		return 0
	}
	n, _ := strconv.Atoi(words[1]) // 0 for what is no number
	return n
}

// each applies change to every request that the app has seen.
func each(change func(c *testCase, r *request)) func(*testCase, *outcome, *outcome) bool {
	return func(c *testCase, direct, _ *outcome) bool {
		before := direct.String()
		for i := range direct.seen {
			change(c, &direct.seen[i])
		}
		return direct.String() != before
	}
}

// eachResponse applies change to every final response of the app that the client gets, together with what the client must get.
func eachResponse(change func(r *response, got response, last bool)) func(*testCase, *outcome, *outcome) bool {
	return func(_ *testCase, direct, new *outcome) bool {
		before, answers := direct.String(), finals(new)
		for k, at := range finals(direct) {
			if r := &direct.responses[at[1]]; k < len(answers) && !r.own {
				change(r, new.responses[answers[k][1]], k == len(answers)-1)
				slices.Sort(r.fields)
			}
		}
		return direct.String() != before
	}
}

// refusedRequest puts the refusal in the place of what the app would have answered, and takes the request away from what the app has seen. If
// the connection ends with the refusal, nothing follows.
func refusedRequest(_ *testCase, direct, new *outcome) (found bool) {
	answers, mine, seen := finals(new), finals(direct), 0
	var responses []response
	var requests []request
	for k, at := range answers {
		r := new.responses[at[1]]
		refused := isRefusal(r)
		served := k < len(mine) && seen < len(direct.seen) && !isOwnError(direct.responses[mine[k][1]])
		if served && !refused {
			requests = append(requests, direct.seen[seen])
		}
		if served {
			seen++
		}
		if !refused {
			if k < len(mine) {
				responses = append(responses, direct.responses[mine[k][0]:mine[k][1]+1]...)
			}
			continue
		}
		found = true
		r.own = true
		for _, interim := range new.responses[at[0]:at[1]] {
			if interim.line == "HTTP/1.1 100 Continue" && len(interim.fields) == 0 {
				responses = append(responses, interim) // the body was asked for
			}
		}
		responses = append(responses, r)
		if closes(r) {
			direct.responses, direct.seen, direct.fate = responses, requests, "closed"
			return true
		}
	}
	if !found {
		return false
	}
	for _, at := range mine[min(len(answers), len(mine)):] {
		responses = append(responses, direct.responses[at[0]:at[1]+1]...)
	}
	direct.responses, direct.seen = responses, append(requests, direct.seen[seen:]...)
	return true
}

// isOwnError reports whether r is what net/http's server says by itself, or what the app says about a malformed body.
func isOwnError(r response) bool {
	return r.status() >= 400 && slices.Contains(r.fields, "Content-Type: text/plain; charset=utf-8")
}

// badGateway puts a 502 in the place of a malformed response, and after informational ones that no final one follows.
func badGateway(c *testCase, direct, new *outcome) (found bool) {
	mine := finals(direct)
	for k, at := range finals(new) {
		r := new.responses[at[1]]
		if r.status() != http.StatusBadGateway || !isProblem(r, 502, "app-bad-response", "The application sent an invalid response.") {
			continue
		}
		if start := afterFinals(mine); k == len(mine) && start < len(direct.responses) {
			mine = append(mine, [2]int{start, len(direct.responses) - 1})
		}
		if k >= len(mine) {
			continue
		}
		found, r.own = true, true
		interims := mine[k][0] + min(at[1]-at[0], mine[k][1]-mine[k][0]) // the valid ones
		direct.responses = slices.Concat(direct.responses[:interims], []response{r}, direct.responses[mine[k][1]+1:])
		if mine = finals(direct); closes(r) && at[1] == len(new.responses)-1 {
			direct.fate = "closed"
		}
	}
	return found
}

// afterFinals returns where the responses after the last final one begin.
func afterFinals(all [][2]int) int {
	if len(all) == 0 {
		return 0
	}
	return all[len(all)-1][1] + 1
}

var forwarding = []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Real-Ip", "Forwarded", "X-Forwarded_for", "X-Request-Id"}

var forwarded = each(func(_ *testCase, r *request) {
	for _, name := range forwarding {
		delete(r.header, name)
	}
	for name, value := range map[string]string{"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": r.host, "X-Forwarded-Proto": "http", "X-Request-Id": ""} {
		r.header[name] = []string{value}
	}
})

var hopByHop = each(func(_ *testCase, r *request) {
	for _, name := range []string{"X-A", "X-Hop"} {
		if strings.Contains(strings.Join(r.header["Connection"], ","), name) {
			delete(r.header, name)
		}
	}
	trailers := strings.Contains(strings.Join(r.header["Te"], ","), "trailers")
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Upgrade", "Http2-Settings", "Proxy-Authorization"} {
		if name == "Upgrade" && len(r.header["Sec-Websocket-Key"]) > 0 && r.length == 0 {
			r.header["Connection"] = []string{"Upgrade"}
			continue
		}
		delete(r.header, name)
	}
	if trailers {
		r.header["Te"] = []string{"trailers"}
	}
	if r.length != 0 && !takesBody(r) {
		r.header["Connection"] = []string{"close"}
	}
})

// takesBody reports whether the method gives a body a meaning.
func takesBody(r *request) bool {
	method, _, _ := strings.Cut(r.line, " ")
	return method == "POST" || method == "PUT" || method == "PATCH"
}

var reservedNames = each(func(_ *testCase, r *request) {
	for name := range r.header {
		if strings.HasPrefix(name, "Postern-") || name == "User_agent" {
			delete(r.header, name)
		}
	}
})

var requestAgain = each(func(_ *testCase, r *request) {
	r.line = strings.Replace(r.line, "HTTP/1.0", "HTTP/1.1", 1)
	if r.host == "" {
		r.host = appAddress
	}
	if agents := r.header["User-Agent"]; len(agents) > 0 {
		if r.header["User-Agent"] = agents[:1]; agents[0] == "" {
			delete(r.header, "User-Agent")
		}
	}
	switch {
	case r.length > 0:
		r.header["Content-Length"] = []string{strconv.FormatInt(r.length, 10)}
	case r.length == 0 && takesBody(r):
		r.header["Content-Length"] = []string{"0"}
	default:
		delete(r.header, "Content-Length")
	}
})

// appAddress is that of the app in every world.
const appAddress = "127.0.0.1:1001"

// notTrailers are fields of the cases that may not be in a trailer.
var notTrailers = []string{"Authorization", "Cookie", "X-Forwarded-For", "Host", "Content-Length"}

var announcement = regexp.MustCompile(`(?i)\ntrailer:([^\r\n]*)`)

// requestTrailer removes the trailer fields that were not announced, and those that may not be in a trailer.
func requestTrailer(c *testCase, direct, new *outcome) bool {
	announced := map[string]bool{}
	for _, line := range announcement.FindAllStringSubmatch(c.bytes, -1) {
		for name := range strings.SplitSeq(line[1], ",") {
			announced[http.CanonicalHeaderKey(strings.TrimSpace(name))] = true
		}
	}
	return each(func(_ *testCase, r *request) {
		for name := range r.trailer {
			if !announced[name] || strings.ContainsAny(name, " :") || slices.Contains(notTrailers, name) {
				delete(r.trailer, name)
			}
		}
	})(c, direct, new)
}

var requestNumber = eachResponse(func(r *response, _ response, _ bool) {
	if r.status() != http.StatusSwitchingProtocols {
		r.fields = append(r.fields, "X-Request-Id: ")
	}
})

var writtenAgain = eachResponse(func(r *response, got response, _ bool) {
	version, _, _ := strings.Cut(got.line, " ")
	r.line = version + " " + reason(r.status())
	r.fields = canonicalFields(r.fields)
	dated := slices.ContainsFunc(r.fields, func(f string) bool { return strings.HasPrefix(f, "Date: ") })
	if !dated && r.status() != http.StatusSwitchingProtocols {
		r.fields = append(r.fields, "Date: now")
	}
})

// reason returns a status with the text that belongs to it.
func reason(status int) string {
	text := http.StatusText(status)
	if text == "" {
		text = "status code " + strconv.Itoa(status)
	}
	return strconv.Itoa(status) + " " + text
}

// canonicalFields returns fields with canonical names and without the space around values.
func canonicalFields(fields []string) (out []string) {
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ":")
		lines := strings.Split(value, "\n")
		for i := range lines {
			lines[i] = strings.Trim(lines[i], " \t")
		}
		out = append(out, http.CanonicalHeaderKey(name)+": "+strings.TrimSpace(strings.Join(lines, " ")))
	}
	return out
}

var framedAgain = eachResponse(func(r *response, got response, _ bool) {
	length := ""
	r.fields = slices.DeleteFunc(r.fields, func(f string) bool {
		if strings.HasPrefix(f, "Content-Length: ") {
			length = f
		}
		return strings.HasPrefix(f, "Content-Length: ") || strings.HasPrefix(f, "Transfer-Encoding: ") || r.status() == 304 && strings.HasPrefix(f, "Content-Type: ")
	})
	switch {
	case r.status() == 204 || r.status() == 304 || r.status() == 101:
	case length != "":
		_, number, _ := strings.Cut(length, ": ")
		if n, err := strconv.ParseInt(number, 10, 64); err == nil {
			length = "Content-Length: " + strconv.FormatInt(n, 10)
		}
		r.fields = append(r.fields, length)
	case strings.HasPrefix(got.line, "HTTP/1.0") || r.method == "HEAD":
	default:
		r.fields = append(r.fields, "Transfer-Encoding: chunked")
	}
})

func responseHopByHop(c *testCase, direct, new *outcome) bool {
	return eachResponse(func(r *response, got response, last bool) {
		if r.status() == http.StatusSwitchingProtocols {
			return
		}
		named := slices.Contains(r.fields, "Connection: X-A")
		r.fields = slices.DeleteFunc(r.fields, func(f string) bool { return isOfConnection(f) || named && strings.HasPrefix(f, "X-A: ") })
		switch old := strings.HasPrefix(got.line, "HTTP/1.0"); {
		case last && !old && new.fate == "closed" && !direct.lost && (!got.cut || r.asked):
			r.fields = append(r.fields, "Connection: close")
		case old && (!last || new.fate == "kept"):
			r.fields = append(r.fields, "Connection: keep-alive")
		}
	})(c, direct, new)
}

// isOfConnection reports whether a field is for the peer alone.
func isOfConnection(f string) bool {
	name, _, _ := strings.Cut(f, ":")
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Upgrade", "Proxy-Authenticate":
		return true
	}
	return strings.HasPrefix(name, "Postern-")
}

// responseTrailer keeps the trailer fields that may be passed on, and their announcement.
func responseTrailer(_ *testCase, direct, new *outcome) bool {
	return eachResponse(func(r *response, got response, _ bool) {
		announced := ""
		for _, f := range r.fields {
			if f == "Trailer: X-Sum" {
				announced += ", X-Sum"
			}
		}
		r.fields = slices.DeleteFunc(r.fields, func(f string) bool { return strings.HasPrefix(f, "Trailer: ") })
		if !slices.ContainsFunc(r.fields, func(f string) bool { return strings.EqualFold(f, "Transfer-Encoding: chunked") }) || r.status() == 304 || r.method == "HEAD" {
			return
		}
		if announced != "" {
			r.fields = append(r.fields, "Trailer: "+announced[2:])
		}
		if strings.HasPrefix(got.line, "HTTP/1.0") {
			r.trailer = nil
			return
		}
		r.trailer = slices.DeleteFunc(canonicalFields(r.trailer), func(f string) bool {
			return !strings.HasPrefix(f, "X-")
		})
	})(nil, direct, new)
}

// cutShort ends the client's connection where the app's response is incomplete or malformed: after the part that was valid, or before the head
// if nothing of the body has arrived.
func cutShort(_ *testCase, direct, new *outcome) (found bool) {
	answers, mine := finals(new), finals(direct)
	if k := len(answers); k < len(mine) && new.fate == "closed" {
		if r := direct.responses[mine[k][1]]; r.cut && r.body == "" {
			direct.responses, direct.seen, direct.fate = direct.responses[:mine[k][0]], direct.seen[:min(k+1, len(direct.seen))], "closed"
			direct.lost = true
			return true
		}
	}
	last := len(direct.responses) - 1
	if last < 0 || len(new.responses) == 0 {
		return false
	}
	r, got := &direct.responses[last], new.responses[len(new.responses)-1]
	if !got.cut || !strings.HasPrefix(r.body, got.body) {
		return false
	}
	r.cut, r.body, r.trailer, direct.fate = true, got.body, nil, new.fate
	return true
}

// earlyBody accepts that the app does not get the rest of a body before which it has responded.
func earlyBody(c *testCase, direct, new *outcome) bool {
	return dropLate(c, direct, new)
}

// dropLate removes from one the requests that other does not have, if the app has responded to one of them before it read the body.
func dropLate(c *testCase, one, other *outcome) bool {
	if !slices.ContainsFunc(c.replies, func(r reply) bool { return r.early }) {
		return false
	}
	before, left := len(one.seen), slices.Clone(other.seen)
	one.seen = slices.DeleteFunc(one.seen, func(r request) bool {
		if at := slices.IndexFunc(left, r.equal); at >= 0 {
			left = slices.Delete(left, at, at+1)
			return false
		}
		return r.length != 0
	})
	if len(left) == 0 && len(one.seen) == len(other.seen) {
		copy(one.seen, other.seen) // the next request has arrived on another connection
	}
	return len(one.seen) < before || len(left) == 0
}

// olderClient ends the connection of an HTTP/1.0 client after a body of unknown length.
func olderClient(_ *testCase, direct, new *outcome) bool {
	last := len(new.responses) - 1
	if last < 0 || !strings.HasPrefix(new.responses[last].line, "HTTP/1.0") || direct.fate != "kept" {
		return false
	}
	if slices.ContainsFunc(new.responses[last].fields, func(f string) bool { return strings.HasPrefix(f, "Content-Length: ") }) {
		return false
	}
	direct.fate = "closed"
	return true
}

var pathAgain = each(func(_ *testCase, r *request) {
	parts := strings.Split(r.line, " ")
	path, query, asked := strings.Cut(parts[1], "?")
	if scheme, rest, absolute := strings.Cut(path, "://"); absolute && !strings.Contains(scheme, "/") {
		_, path, _ = strings.Cut(rest, "/")
		path = "/" + path
	}
	path = normalPath(path)
	if asked {
		path += "?"
		for i := range len(query) {
			if c := query[i]; c == '#' || c >= 0x80 {
				path += fmt.Sprintf("%%%02X", c)
			} else {
				path += string(c)
			}
		}
	}
	r.line = parts[0] + " " + path + " " + parts[len(parts)-1]
})

// normalPath normalises the escapes of a path (RFC 3986 §6.2.2): those of unreserved characters are removed, and what may not be in a path is
// escaped.
func normalPath(path string) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		c, escaped := path[i], false
		if n, err := strconv.ParseUint(path[min(i+1, len(path)):min(i+3, len(path))], 16, 8); c == '%' && err == nil && i+2 < len(path) {
			c, escaped = byte(n), true
			i += 2
		}
		unreserved := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
		if unreserved || !escaped && strings.IndexByte("/!$&'()*+,;=:@", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// informational changes the responses before the final one: 100 comes from the sidecar, and an HTTP/1.0 client gets none.
func informational(_ *testCase, direct, new *outcome) bool {
	before := direct.String()
	answers, mine := finals(new), finals(direct)
	for k := len(mine) - 1; k >= 0; k-- {
		at := mine[k]
		older := k < len(answers) && strings.HasPrefix(new.responses[answers[k][1]].line, "HTTP/1.0")
		for i := at[1] - 1; i >= at[0]; i-- {
			if r := direct.responses[i]; older || r.status() == http.StatusContinue && !r.expected {
				direct.responses = slices.Delete(direct.responses, i, i+1)
			}
		}
	}
	for i := range direct.responses {
		if r := &direct.responses[i]; r.status() >= 100 && r.status() < 200 && r.status() != 101 {
			r.line = "HTTP/1.1 " + reason(r.status())
			r.fields = slices.DeleteFunc(canonicalFields(r.fields), func(f string) bool { return isOfConnection(f) || strings.HasPrefix(f, "Transfer-Encoding: ") })
			slices.Sort(r.fields)
		}
	}
	return direct.String() != before
}

// incomplete takes away what net/http says about a head that is not complete.
func incomplete(c *testCase, direct, _ *outcome) bool {
	plan := framing.Read([]byte(c.bytes))
	last := len(direct.responses) - 1
	if plan.Refused || plan.InBody || len(plan.Rest) == 0 || last < 0 || direct.responses[last].body != "400 Bad Request" {
		return false
	}
	direct.responses, direct.fate = direct.responses[:last], "closed"
	return true
}

// clientGone puts a 499 in the place of what the app says about a body that has ended too early.
func clientGone(_ *testCase, direct, new *outcome) bool {
	last := len(new.responses) - 1
	if last < 0 || !isProblem(new.responses[last], 499, "client-closed-request", "The client closed the request.") || len(direct.responses) != last+1 {
		return false
	}
	direct.responses[last] = new.responses[last]
	direct.responses[last].own, direct.fate = true, "closed"
	return true
}
