package ratelimit

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Names of the answer's fields (draft-ietf-httpapi-ratelimit-headers-11), in canonical form.
const (
	fieldLimit  = "Ratelimit"
	fieldPolicy = "Ratelimit-Policy"
)

// fields are what a rule shows of itself: members of two structured lists (RFC 9651).
type fields struct{ name, policy string }

// newFields renders `"login"` and `"login";q=5;w=60`. The window is whole seconds, rounded up.
func newFields(name string, limit int, period time.Duration) fields {
	quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
	return fields{name: quoted, policy: fmt.Sprintf("%s;q=%d;w=%d", quoted, limit, seconds(period))}
}

// seconds rounds up: a client that waits for so long has waited long enough.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// answer is a request's rate limit fields: every enforced rule that applied, in the policy's order.
type answer struct{ limit, policy string }

// add appends one rule's members: r is what may follow at once, and t the seconds until that grows.
func (a *answer) add(f *fields, result Result) {
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

// set replaces the fields in h, whatever it holds: an app's own, in the syntax of an older draft, would make the whole
// list unreadable, and a client can obey one answer alone.
func (a *answer) set(h http.Header) {
	if a.limit == "" {
		return
	}
	h[fieldLimit] = []string{a.limit}
	h[fieldPolicy] = []string{a.policy}
}
