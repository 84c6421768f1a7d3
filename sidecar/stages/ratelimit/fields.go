package ratelimit

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
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

// shownFields are the rate limit fields of one response: every enforced rule that applied, in the policy's order.
type shownFields struct{ limit, policy string }

// add appends one rule's members: r is the number of requests allowed now, and t the seconds until that number grows.
func (a *shownFields) add(f *fields, result Result) {
	var room [128]byte
	b := room[:0]
	if a.limit != "" {
		b = append(append(b, a.limit...), ", "...)
		a.policy += ", " + f.policy
	} else {
		a.policy = f.policy
	}
	b = append(append(b, f.name...), ";r="...)
	b = strconv.AppendInt(b, int64(result.Remaining), 10)
	b = append(b, ";t="...)
	a.limit = string(strconv.AppendInt(b, seconds(result.Next), 10))
}

// set replaces the fields in h, including those of the app. An app's fields in the syntax of an older draft would
// make the whole list unreadable, and a client can follow only one value.
func (a *shownFields) set(h http.Header) {
	if a.limit == "" {
		return
	}
	h[fieldLimit] = []string{a.limit}
	h[fieldPolicy] = []string{a.policy}
}
