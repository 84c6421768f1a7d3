package hashchain

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

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
}

// originPrefix begins the origin of a checkpoint, which is the name of the log: postern.dev/audit/<namespace>/<name>/<writer>.
const originPrefix = "postern.dev/audit/"

// text returns the signed text of the checkpoint.
func (c Checkpoint) text() string {
	return fmt.Sprintf("%s%s/%s\n%d\n%s\n", originPrefix, c.Policy, c.Writer, c.Size, c.Root)
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

// parse parses the text of a checkpoint. Lines after the third are extensions, which are allowed and not read.
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
	return c, nil
}
