package apikey

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Bounds of a file. MaxBytes is the limit of a Kubernetes Secret.
const (
	MaxBytes   = 1 << 20
	MaxEntries = 10000
	maxID      = 63
	maxText    = 512
	maxScopes  = 64
)

// Entry is one key of a file. It is immutable, except for its use.
type Entry struct {
	ID, Subject string
	Scopes      []string
	// Claims are those of the entry, with sub and scope, decoded like those of a token, with numbers as json.Number.
	Claims map[string]any
	// Expires is zero for a key that does not expire.
	Expires time.Time

	sum Sum
	use *use
}

// use is how an entry was used. It is shared by the files in which the key is.
type use struct{ last, count atomic.Int64 }

// Expired reports whether the key is no longer valid at now.
func (e *Entry) Expired(now time.Time) bool { return !e.Expires.IsZero() && !now.Before(e.Expires) }

// Used records a request with the key.
func (e *Entry) Used(now time.Time) {
	e.use.last.Store(now.UnixNano())
	e.use.count.Add(1)
}

// File is the content of a key file. It is immutable.
type File struct {
	entries []*Entry
	bySum   map[Sum]*Entry
}

// Len returns the number of keys.
func (f *File) Len() int { return len(f.entries) }

// Entries returns the keys in the order of the file. The caller must not change the slice.
func (f *File) Entries() []*Entry { return f.entries }

// Lookup returns the entry of a key, or nil. The map is searched by the key's SHA-256, never by the key or an id: the time of the
// search depends on a hash that a caller can choose but not steer towards that of another key, so it says nothing about other keys, and
// every key that is not in the file takes the same path.
func (f *File) Lookup(key string) *Entry { return f.bySum[sha256.Sum256([]byte(key))] }

// Get returns the entry that f has for the key of e, or nil. An entry with another id or subject is another one.
func (f *File) Get(e *Entry) *Entry {
	if now := f.bySum[e.sum]; now != nil && now.ID == e.ID && now.Subject == e.Subject {
		return now
	}
	return nil
}

// entry is an entry as it is written.
type entry struct {
	ID      string    `yaml:"id"`
	Hash    string    `yaml:"hash"`
	Subject string    `yaml:"subject"`
	Scopes  []string  `yaml:"scopes,omitempty"`
	Claims  yaml.Node `yaml:"claims,omitempty"`
	Expires string    `yaml:"expires,omitempty"`
}

// Parse reads a key file: a YAML list of entries. Unknown and repeated fields, repeated ids and hashes, anchors and aliases, a second
// document and sizes beyond the bounds are errors. Errors name the number or the id of an entry, and nothing else of the file.
func Parse(data []byte) (*File, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("parsing key file: it is larger than %d bytes", MaxBytes)
	}
	root, err := parseYAML(data)
	if err != nil {
		return nil, fmt.Errorf("parsing key file: %w", err)
	}
	f := &File{bySum: map[Sum]*Entry{}}
	if root == nil {
		return f, nil
	}
	if root.Kind != yaml.SequenceNode {
		return nil, errors.New("parsing key file: it is not a list of entries; write one such as - {id: ci, hash: sha256:…, subject: svc:ci}")
	}
	if len(root.Content) > MaxEntries {
		return nil, fmt.Errorf("parsing key file: it has more than %d entries", MaxEntries)
	}
	ids := map[string]bool{}
	for i, node := range root.Content {
		e, err := parseEntry(node)
		switch {
		case err != nil:
			return nil, fmt.Errorf("parsing key file: entry %d (line %d): %w", i+1, node.Line, err)
		case ids[e.ID]:
			return nil, fmt.Errorf("parsing key file: entry %d (line %d): the id %q is used twice", i+1, node.Line, e.ID)
		case f.bySum[e.sum] != nil:
			return nil, fmt.Errorf("parsing key file: entry %d (line %d): its key is also that of %q", i+1, node.Line, f.bySum[e.sum].ID)
		}
		ids[e.ID], f.bySum[e.sum] = true, e
		f.entries = append(f.entries, e)
	}
	return f, nil
}

// parseYAML returns the content of the only document, or nil if there is none. The YAML library quotes the text in its errors, so
// they are not passed on.
func parseYAML(data []byte) (*yaml.Node, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("it is not UTF-8")
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	err := decoder.Decode(&document)
	switch {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, errors.New("it is not YAML")
	case !errors.Is(decoder.Decode(&second), io.EOF):
		return nil, errors.New("it has a second YAML document")
	case len(document.Content) != 1 || document.Content[0].Tag == "!!null":
		return nil, nil
	}
	return document.Content[0], noAliases(document.Content[0])
}

func noAliases(n *yaml.Node) error {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		return fmt.Errorf("line %d: anchors and aliases are not accepted", n.Line)
	}
	for _, child := range n.Content {
		if err := noAliases(child); err != nil {
			return err
		}
	}
	return nil
}

func parseEntry(node *yaml.Node) (*Entry, error) {
	var in entry
	if err := known(node); err != nil {
		return nil, err
	}
	if err := node.Decode(&in); err != nil {
		return nil, errors.New("a field has the wrong type")
	}
	e := &Entry{ID: in.ID, Subject: in.Subject, Scopes: in.Scopes, use: &use{}}
	var err error
	switch {
	case holdsKey(node):
		return nil, errors.New("an API key is written in place of a name or its hash; logs, metrics or the app would show it: remove it, and replace the key where it is used")
	case !validID(in.ID):
		return nil, fmt.Errorf("id is not 1 to %d letters, digits, dots, hyphens and underscores", maxID)
	case in.Subject == "" || len(in.Subject) > maxText || !printable(in.Subject):
		return nil, fmt.Errorf("%s: subject is not 1 to %d bytes without control characters", in.ID, maxText)
	}
	if e.sum, err = parseHash(in.Hash); err != nil {
		return nil, fmt.Errorf("%s: %w", in.ID, err)
	}
	if err := checkScopes(in.Scopes); err != nil {
		return nil, fmt.Errorf("%s: %w", in.ID, err)
	}
	if in.Expires != "" {
		if e.Expires, err = time.Parse(time.RFC3339, in.Expires); err != nil {
			return nil, fmt.Errorf("%s: expires is not a time such as 2027-01-31T00:00:00Z", in.ID)
		}
	}
	if e.Claims, err = parseClaims(&in.Claims); err != nil {
		return nil, fmt.Errorf("%s: %w", in.ID, err)
	}
	e.Claims["sub"] = e.Subject
	if len(e.Scopes) > 0 {
		e.Claims["scope"] = strings.Join(e.Scopes, " ") // RFC 8693 §4.2
	}
	return e, nil
}

// holdsKey reports whether a text of the entry is an API key.
func holdsKey(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && Check(n.Value) == nil || slices.ContainsFunc(n.Content, holdsKey)
}

// known refuses unknown and repeated fields of an entry.
func known(node *yaml.Node) error {
	if node.Kind != yaml.MappingNode {
		return errors.New("it is not an object with id, hash and subject")
	}
	seen := map[string]bool{}
	for i := 0; i < len(node.Content); i += 2 {
		name := node.Content[i].Value
		switch name {
		case "id", "hash", "subject", "scopes", "claims", "expires":
		default:
			return fmt.Errorf("an unknown field in line %d; known are id, hash, subject, scopes, claims and expires", node.Content[i].Line)
		}
		if seen[name] {
			return fmt.Errorf("the field %s is written twice", name)
		}
		seen[name] = true
	}
	return nil
}

// checkScopes refuses what is not a scope of RFC 6749 §3.3.
func checkScopes(scopes []string) error {
	if len(scopes) > maxScopes {
		return fmt.Errorf("it has more than %d scopes", maxScopes)
	}
	for i, s := range scopes {
		bad := strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) >= 0
		if s == "" || len(s) > maxText || bad {
			return fmt.Errorf("scope %d is not printable ASCII without spaces, quotes and backslashes", i+1)
		}
	}
	return nil
}

// validID reports whether an id fits in a label of a metric, a log line and a claim.
func validID(id string) bool {
	if id == "" || len(id) > maxID {
		return false
	}
	return strings.Trim(id, alphabet+"._-") == ""
}

func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) < 0
}
