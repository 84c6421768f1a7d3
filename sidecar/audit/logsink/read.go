package logsink

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/spool"
)

// maxLine bounds a line that is read, in bytes. Longer lines are no audit lines, and are skipped.
const maxLine = 4 * record.MaxSize

// Read calls f for each record and checkpoint in lines of JSON: the lines of this sink, exported lines that are records themselves, and
// other lines of a log, which are skipped. The bytes of a record are those of its writer. It returns the number of lines skipped.
func Read(r io.Reader, f func(spool.Item) error) (skipped int, err error) {
	lines := bufio.NewReaderSize(r, maxLine)
	for {
		text, err := lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			skipped++
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = lines.ReadSlice('\n')
			}
			text = nil
		}
		if i, ok := parse(bytes.TrimSpace(text)); ok {
			if err := f(i); err != nil {
				return skipped, err
			}
		} else if len(bytes.TrimSpace(text)) > 0 {
			skipped++
		}
		switch {
		case errors.Is(err, io.EOF):
			return skipped, nil
		case err != nil:
			return skipped, fmt.Errorf("reading lines: %w", err)
		}
	}
}

// parse returns the item of a line. What it returns does not share memory with text.
func parse(text []byte) (i spool.Item, ok bool) {
	if len(text) == 0 || text[0] != '{' {
		return i, false
	}
	var l struct {
		Audit      json.RawMessage `json:"audit"`
		Checkpoint string          `json:"checkpoint"`
		Writer     string          `json:"writer"`
		Seq        uint64          `json:"seq"`
	}
	switch err := json.Unmarshal(text, &l); {
	case err != nil:
		return i, false
	case l.Audit != nil:
		return spool.Item{Kind: spool.Record, Payload: bytes.Clone(l.Audit)}, true
	case l.Checkpoint != "":
		return spool.Item{Kind: spool.Checkpoint, Payload: []byte(l.Checkpoint)}, true
	case l.Writer != "" && l.Seq > 0:
		return spool.Item{Kind: spool.Record, Payload: bytes.Clone(text)}, true
	}
	return i, false
}
