package ratelimit

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/request"
)

// Names of the response's rate limit fields (draft-ietf-httpapi-ratelimit-headers-11), in canonical form.
const (
	fieldLimit  = "Ratelimit"
	fieldPolicy = "Ratelimit-Policy"
)

// fields are what the client sees of a rule: members of two structured lists (RFC 9651).
type fields struct{ name, policy string }

// newFields renders `"login"` and `"login";q=5;w=60`. The window is whole seconds, rounded up.
func newFields(name string, limit int, period time.Duration) fields {
	quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
	return fields{name: quoted, policy: fmt.Sprintf("%s;q=%d;w=%d", quoted, limit, seconds(period))}
}

// seconds rounds up, so that a client that waits this long has waited long enough.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// appendLimit appends the rule's member of RateLimit: r is the number of requests allowed now, and t the seconds until that number grows.
func (f *fields) appendLimit(b []byte, result Result) []byte {
	if len(b) > 0 {
		b = append(b, ", "...)
	}
	b = append(append(b, f.name...), ";r="...)
	b = append(strconv.AppendInt(b, int64(result.Remaining), 10), ";t="...)
	return strconv.AppendInt(b, seconds(result.Next), 10)
}

// appendPolicy appends the rule's member of RateLimit-Policy.
func (f *fields) appendPolicy(b []byte) []byte {
	if len(b) > 0 {
		b = append(b, ", "...)
	}
	return append(b, f.policy...)
}

// shownFields are the rate limit fields of one response: every enforced rule that applied, in the policy's order.
type shownFields struct{ limit, policy []byte }

// add appends one rule's members.
func (a *shownFields) add(f *fields, result Result) {
	a.limit, a.policy = f.appendLimit(a.limit, result), f.appendPolicy(a.policy)
}

// lines makes the lines of the two fields those of the request. usual is the whole RateLimit-Policy of most requests; nil if that is not known.
func (a *shownFields) lines(info *request.Info, usual []string) {
	if len(a.limit) == 0 {
		return
	}
	info.RateLimit = info.Values(string(a.limit))
	if len(usual) == 1 && usual[0] == string(a.policy) {
		info.RateLimitPolicy = usual
		return
	}
	info.RateLimitPolicy = info.Values(string(a.policy))
}

// set replaces the fields in h, including those of the app. An app's fields in the syntax of an older draft would
// make the whole list unreadable, and a client can follow only one value.
func set(h http.Header, info *request.Info) {
	if info.RateLimit == nil {
		return
	}
	h[fieldLimit], h[fieldPolicy] = info.RateLimit, info.RateLimitPolicy
}

// usualPolicy returns the lines of RateLimit-Policy if each rule applies with its own limit; their length is their capacity.
func usualPolicy(rules []rule) []string {
	var b []byte
	for i := range rules {
		if !rules[i].shadow {
			b = rules[i].base.fields.appendPolicy(b)
		}
	}
	return []string{string(b)}
}
