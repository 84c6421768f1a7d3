package logsink

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/posterndev/postern/sidecar/audit/hashchain"
	audit "github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/spool"
)

// maxLine bounds a line that is read, in bytes. Longer lines are no audit lines, and are skipped.
const maxLine = 4 * audit.MaxSize

// Entry is what one line has: an item, or a cut.
type Entry struct {
	spool.Item
	// Cut is nil for an item.
	Cut *hashchain.Cut
}

// Others are the lines that are neither records nor checkpoints.
type Others struct {
	Lines int
	// Incomplete says that the last line is the beginning of one: the file was cut, or is still being written.
	Incomplete bool
}

// Read calls f for each record, checkpoint and cut in lines of JSON: the lines of this sink, exported lines that are records themselves, and
// other lines of a log, which are skipped. The bytes of a record are those of its writer.
func Read(r io.Reader, f func(Entry) error) (o Others, err error) {
	lines := bufio.NewReaderSize(r, maxLine)
	for {
		text, err := lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			o.Lines++
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = lines.ReadSlice('\n')
			}
			text = nil
		}
		text = bytes.TrimSpace(text)
		if e, ok := parse(text); ok {
			if err := f(e); err != nil {
				return o, err
			}
		} else if len(text) > 0 {
			o.Incomplete = errors.Is(err, io.EOF) && text[0] == '{' && !json.Valid(text)
			o.Lines++
		}
		switch {
		case errors.Is(err, io.EOF):
			return o, nil
		case err != nil:
			return o, fmt.Errorf("reading lines: %w", err)
		}
	}
}

// parse returns what a line has. It does not share memory with text.
func parse(text []byte) (e Entry, ok bool) {
	if len(text) == 0 || text[0] != '{' {
		return e, false
	}
	var l struct {
		Audit      json.RawMessage `json:"audit"`
		Checkpoint string          `json:"checkpoint"`
		Cut        *hashchain.Cut  `json:"cut"`
		Writer     string          `json:"writer"`
		Seq        uint64          `json:"seq"`
	}
	switch err := json.Unmarshal(text, &l); {
	case err != nil:
		return e, false
	case l.Audit != nil:
		return record(l.Audit), true
	case l.Checkpoint != "":
		return Entry{Item: spool.Item{Kind: spool.Checkpoint, Payload: []byte(l.Checkpoint)}}, true
	case l.Cut != nil:
		return Entry{Cut: l.Cut}, true
	case l.Writer != "" && l.Seq > 0:
		return record(text), true
	}
	return e, false
}

func record(encoded []byte) Entry {
	return Entry{Item: spool.Item{Kind: spool.Record, Payload: bytes.Clone(encoded)}}
}
