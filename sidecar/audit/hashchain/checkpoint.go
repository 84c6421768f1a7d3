package hashchain

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/note"

	"github.com/posterndev/postern/sidecar/audit/record"
)

// Checkpoint states the size and the root of the tree of a writer.
type Checkpoint struct {
	// Policy is "namespace/name".
	Policy string
	Writer uuid.UUID
	Size   uint64
	Root   record.Hash
	// Last is the hash of the last record. With it, records whose beginning is missing can still be verified. Zero if it is not stated.
	Last record.Hash
	// Time is when it was signed: no record that it covers is younger. RetainDays is how long the writer's records are kept, in days.
	// Together they say from when on the records may be missing. They are zero if they are not stated.
	Time       time.Time
	RetainDays int
}

// Due reports whether the retention of all records that the checkpoint covers has passed.
func (c Checkpoint) Due(now time.Time) bool {
	return c.RetainDays > 0 && !c.Time.IsZero() && c.Time.AddDate(0, 0, c.RetainDays).Before(now)
}

// originPrefix begins the origin of a checkpoint, which is the name of the log: postern.dev/audit/<namespace>/<name>/<writer>.
const originPrefix = "postern.dev/audit/"

// text returns the signed text of the checkpoint. What it states beyond the size and the root is in extension lines.
func (c Checkpoint) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s/%s\n%d\n%s\n", originPrefix, c.Policy, c.Writer, c.Size, c.Root)
	if !c.Last.IsZero() {
		fmt.Fprintf(&b, "last %s\n", c.Last)
	}
	if !c.Time.IsZero() {
		fmt.Fprintf(&b, "time %s\n", c.Time.UTC().Format(time.RFC3339))
	}
	if c.RetainDays > 0 {
		fmt.Fprintf(&b, "retain %dd\n", c.RetainDays)
	}
	return b.String()
}

// Sign returns the checkpoint as a signed note.
func (c Checkpoint) Sign(signer note.Signer) ([]byte, error) {
	signed, err := note.Sign(&note.Note{Text: c.text()}, signer)
	if err != nil {
		return nil, fmt.Errorf("signing a checkpoint: %w", err)
	}
	return signed, nil
}

// MaxNote bounds a signed checkpoint with the signatures of witnesses, in bytes.
const MaxNote = 16 << 10

// Open verifies the signature of a checkpoint, and returns it. Signatures by unknown keys, such as those of witnesses, are allowed beside
// one by a known key.
func Open(signed []byte, known note.Verifiers) (c Checkpoint, err error) {
	if len(signed) > MaxNote {
		return c, fmt.Errorf("opening a checkpoint: %d bytes are more than %d", len(signed), MaxNote)
	}
	n, err := note.Open(signed, known)
	var unverified *note.UnverifiedNoteError
	if errors.As(err, &unverified) {
		return c, fmt.Errorf("opening a checkpoint: it is signed with %s, and not with a key that was given", signers(unverified.Note))
	}
	if err != nil {
		return c, fmt.Errorf("opening a checkpoint: %w", err)
	}
	return parse(n.Text)
}

// signers names the keys of a note's signatures, as in the texts of public keys.
func signers(n *note.Note) string {
	var names []string
	for _, s := range n.UnverifiedSigs {
		names = append(names, fmt.Sprintf("%s+%08x", s.Name, s.Hash))
	}
	if len(names) == 0 {
		return "no key"
	}
	return strings.Join(names, ", ")
}

// Peek returns a checkpoint without verifying it.
func Peek(signed []byte) (c Checkpoint, err error) {
	text, _, ok := strings.Cut(string(signed), "\n\n")
	if !ok || len(signed) > MaxNote {
		return c, fmt.Errorf("reading a checkpoint: it is not a signed note of at most %d bytes", MaxNote)
	}
	return parse(text + "\n")
}

// parse parses the text of a checkpoint. Lines after the third are extensions; unknown ones are allowed and not read.
func parse(text string) (c Checkpoint, err error) {
	lines := strings.Split(text, "\n")
	malformed := func(what string) (Checkpoint, error) {
		return Checkpoint{}, fmt.Errorf("parsing a checkpoint: %s", what)
	}
	if len(lines) < 4 {
		return malformed("it has fewer than three lines")
	}
	name, ok := strings.CutPrefix(lines[0], originPrefix)
	end := strings.LastIndexByte(name, '/')
	if !ok || end < 0 {
		return malformed("its origin is not " + originPrefix + "<namespace>/<policy>/<writer>")
	}
	c.Policy = name[:end]
	if c.Writer, err = uuid.Parse(name[end+1:]); err != nil {
		return malformed("the writer is not a UUID")
	}
	if c.Size, err = strconv.ParseUint(lines[1], 10, 64); err != nil || strconv.FormatUint(c.Size, 10) != lines[1] {
		return malformed("the size is not a decimal number")
	}
	if err = c.Root.UnmarshalText([]byte(lines[2])); err != nil || c.Root.String() != lines[2] {
		return malformed("the root is not base64 of 32 bytes")
	}
	for _, line := range lines[3:] {
		if !c.extend(line) {
			return malformed("an extension line is not as a writer writes it")
		}
	}
	return c, nil
}

// maxRetainDays bounds a retention, in days.
const maxRetainDays = 36500

// extend reads an extension line. ok is false if it has a known name and another value than a writer writes.
func (c *Checkpoint) extend(line string) (ok bool) {
	name, value, _ := strings.Cut(line, " ")
	var err error
	switch name {
	case "last":
		err = c.Last.UnmarshalText([]byte(value))
		return err == nil && c.Last.String() == value
	case "time":
		c.Time, err = time.Parse(time.RFC3339, value)
		return err == nil && c.Time.UTC().Format(time.RFC3339) == value
	case "retain":
		c.RetainDays, err = strconv.Atoi(strings.TrimSuffix(value, "d"))
		return err == nil && c.RetainDays > 0 && c.RetainDays <= maxRetainDays && fmt.Sprintf("%dd", c.RetainDays) == value
	}
	return true
}
