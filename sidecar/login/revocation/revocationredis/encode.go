package revocationredis

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/posterndev/postern/sidecar/login/revocation"
)

// digits is the width of a time in an entry.
const digits = 16

// named is the encoding of what an entry revokes.
type named struct {
	Kind   revocation.Kind `json:"kind"`
	Issuer string          `json:"issuer"`
	Value  string          `json:"value"`
}

func name(e revocation.Entry) string {
	b, _ := json.Marshal(named{e.Kind, e.Issuer, e.Value}) // cannot fail: strings only
	return string(b)
}

// decode parses an entry as add.lua writes it.
func decode(text string) (e revocation.Entry, err error) {
	if len(text) < 2*digits {
		return e, errReply
	}
	expires, err1 := strconv.ParseInt(text[:digits], 10, 64)
	before, err2 := strconv.ParseInt(text[digits:2*digits], 10, 64)
	var n named
	if err1 != nil || err2 != nil || json.Unmarshal([]byte(text[2*digits:]), &n) != nil {
		return e, errReply
	}
	e = revocation.Entry{Kind: n.Kind, Issuer: n.Issuer, Value: n.Value, Expires: time.UnixMicro(expires)}
	if e.Kind == revocation.Subject {
		e.Before = time.UnixMicro(before)
	}
	return e, nil
}
