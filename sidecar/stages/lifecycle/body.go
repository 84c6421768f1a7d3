package lifecycle

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/posterndev/postern/api/check/strictjson"
	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/reqbody"
)

// body keeps a copy of the request's JSON while the app gets it. It does not read ahead: a client that waits for 100 Continue, or sends its body slowly,
// has the same conversation with the app as without it. The transport's goroutine reads it.
type body struct {
	io.ReadCloser
	mu   sync.Mutex
	kept []byte
	// long says that the body has more than MaxBody bytes.
	long bool
}

// follow replaces r's body by one that is copied. It returns nil if r has none.
func follow(r *http.Request) *body {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return nil
	}
	b := &body{ReadCloser: r.Body}
	if !isJSON(r.Header) || r.ContentLength > MaxBody {
		b.long = true
		return b
	}
	r.Body = b
	return b
}

// isJSON also rejects gRPC, whose messages are not the body's JSON (application/grpc+json).
func isJSON(h http.Header) bool {
	return reqbody.IsJSON(h) && !strings.HasPrefix(strings.ToLower(h.Get("Content-Type")), "application/grpc")
}

// Read reads the client's body and copies it.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.long = b.long || len(b.kept)+n > MaxBody; b.long {
		b.kept = nil
		return n, err
	}
	b.kept = append(b.kept, p[:n]...)
	return n, err
}

// Arrived is for reqbody.Arrived.
func (b *body) Arrived() bool { return reqbody.Arrived(b.ReadCloser) }

// object returns the JSON object that the app can have read until now. It is not asked for the end of the body: an app may respond as soon as it has
// the object, and a client could hold the end back. ok is false if there is a body and it is not one object. No body is no object.
func (b *body) object() (object map[string]any, ok bool) {
	if b == nil {
		return nil, true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.long {
		return nil, false
	}
	if len(bytes.TrimSpace(b.kept)) == 0 {
		return nil, false // the app has responded without it
	}
	object, err := strictjson.ObjectWithin(b.kept, strictjson.Limits{Depth: maxDepth, Values: maxValues})
	return object, err == nil
}

// complete reports whether waiting for more of the body changes nothing.
func (b *body) complete() bool {
	if b == nil {
		return true
	}
	_, ok := b.object()
	b.mu.Lock()
	defer b.mu.Unlock()
	return ok || b.long
}

// member returns the value under the path. sure is false if a member on the way has the name in another case as well: decoders that ignore case may
// prefer that one.
func member(object map[string]any, path []string) (value any, found, sure bool) {
	for i, name := range path {
		sure, found = true, false
		for other := range object {
			if other != name && strings.EqualFold(other, name) {
				return nil, true, false
			}
		}
		if value, found = object[name]; !found || i == len(path)-1 {
			return value, found, sure
		}
		if object, found = value.(map[string]any); !found {
			return nil, false, true
		}
	}
	return nil, false, true
}

// changes returns the fields that are in the object; nil if none is. A value that is not certain, or for which event.MaxChanges has no room, is left out, but not
// the name of its field.
func (r *rule) changes(object map[string]any) *event.Changes {
	out, size := event.Changes{}, 0
	for _, f := range r.fields {
		value, found, sure := member(object, f.path)
		if !found {
			continue
		}
		change := event.Change{Redacted: f.redact}
		if sure && !f.redact {
			change.After = encode(value)
		}
		const quotes = 40 // the names of the members of a Change, and punctuation
		if size += len(f.name) + quotes; size+len(change.After) > event.MaxChanges {
			change.After = nil
		}
		size += len(change.After)
		out[f.name] = change
	}
	if len(out) == 0 {
		return nil
	}
	return &out
}

// encode writes a value as it was decoded. It returns nil for what cannot be encoded.
func encode(value any) json.RawMessage {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return nil
	}
	return bytes.TrimSpace(out.Bytes())
}
