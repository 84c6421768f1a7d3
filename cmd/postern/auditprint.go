package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/posterndev/postern/cmd/postern/internal/screen"
	"github.com/posterndev/postern/sidecar/audit/hashchain"
	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/rows"
	"github.com/posterndev/postern/sidecar/audit/spool"
)

// recordPrinter prints records in one form.
type recordPrinter struct {
	print func(*record.Record) error
	flush func() error
}

func newRecordPrinter(form string, out io.Writer) (recordPrinter, error) {
	w := bufio.NewWriter(out)
	switch form {
	case "text":
		return recordPrinter{func(r *record.Record) error {
			_, err := fmt.Fprintln(w, recordLine(r))
			return err
		}, w.Flush}, nil
	case "jsonl":
		return recordPrinter{func(r *record.Record) error {
			encoded, err := r.Encode()
			if err == nil {
				_, err = fmt.Fprintf(w, "%s\n", printableJSON(encoded))
			}
			return err
		}, w.Flush}, nil
	case "csv":
		c := csv.NewWriter(w)
		if err := c.Write(csvColumns()); err != nil {
			return recordPrinter{}, err
		}
		return recordPrinter{func(r *record.Record) error { return c.Write(csvRow(r)) }, func() error {
			c.Flush()
			if err := c.Error(); err != nil {
				return err
			}
			return w.Flush()
		}}, nil
	}
	return recordPrinter{}, fmt.Errorf("--output is %q: write text, jsonl or csv", form)
}

// recordLine returns a record in one line. Texts that clients wrote are quoted if a terminal could interpret them.
func recordLine(r *record.Record) string {
	parts := []string{r.Time.Format(time.RFC3339), plainText(r.Policy), plainText(r.Action), plainText(string(r.Outcome))}
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+"="+plainText(value))
		}
	}
	add("reason", r.Reason)
	add("subject", r.Subject)
	add("account", r.Account)
	add("by", r.PerformedBy)
	if r.Resource != nil {
		add("resource", strings.TrimSuffix(r.Resource.Kind+"/"+r.Resource.ID, "/"))
	}
	if len(r.Changes) > 0 {
		changes, err := json.Marshal(r.Changes)
		if err == nil {
			add("changes", string(changes))
		}
	}
	add("address", r.IPAddress)
	add("rule", r.Rule)
	add("session", r.Session)
	add("request", r.RequestID)
	if r.Count > 1 {
		add("count", fmt.Sprint(r.Count))
	}
	if r.Encrypted != nil { // no key was given, or it was erased
		add("encrypted", strings.Join(slices.Sorted(maps.Keys(r.Encrypted.Fields)), ","))
	}
	return strings.Join(parts, " ")
}

func csvColumns() []string {
	return []string{
		"time", "id", "policy", "category", "action", "outcome", "reason", "subject", "account", "performed_by", "resource_kind", "resource_id", "changes", "ip_address",
		"user_agent", "request_id", "trace_id", "session", "token_id", "key_id", "rule", "count", "pod", "writer", "seq",
	}
}

func csvRow(r *record.Record) []string {
	resource := record.Resource{}
	if r.Resource != nil {
		resource = *r.Resource
	}
	changes := ""
	if len(r.Changes) > 0 {
		if encoded, err := json.Marshal(r.Changes); err == nil {
			changes = string(encoded)
		}
	}
	cells := []string{
		r.Time.Format(time.RFC3339Nano), r.ID.String(), r.Policy, string(r.Category), r.Action, string(r.Outcome), r.Reason, r.Subject, r.Account, r.PerformedBy, resource.Kind, resource.ID, changes, r.IPAddress,
		r.UserAgent, r.RequestID, r.TraceID, r.Session, r.TokenID, r.KeyID, r.Rule, fmt.Sprint(max(r.Count, 1)), r.Pod, r.Writer.String(), fmt.Sprint(r.Seq),
	}
	for i, cell := range cells {
		cell = screen.Escape(cell)
		// A spreadsheet would run what begins like a formula (OWASP, CSV injection), some also in full-width characters.
		if first, _ := utf8.DecodeRuneInString(cell); cell != "" && strings.ContainsRune("=+-@＝＋－＠", first) {
			cell = "'" + cell
		}
		cells[i] = cell
	}
	return cells
}

// exportChain writes the trail in the bytes of its writers.
func (a *auditFilter) exportChain(cmd *cobra.Command) error {
	w := bufio.NewWriter(cmd.OutOrStdout())
	bar := newProgress(cmd.ErrOrStderr(), "records")
	a.source.bar = bar
	err := a.source.each(cmd, nil, 0, func(r rows.Row) (err error) {
		bar.add(1)
		if r.Cut != nil {
			return json.NewEncoder(w).Encode(map[string]*hashchain.Cut{"cut": r.Cut})
		}
		if r.Kind == spool.Checkpoint {
			return json.NewEncoder(w).Encode(map[string]string{"checkpoint": string(r.Payload)})
		}
		_, err = fmt.Fprintf(w, "%s\n", r.Payload)
		return err
	})
	bar.end()
	if err != nil {
		return err
	}
	return w.Flush()
}

// plainText returns a text that a client may have written in a form that a terminal shows and does not obey: quoted if it has blanks or
// unprintable characters.
func plainText(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return unprintable(r) || r == ' ' }) {
		return strconv.Quote(s)
	}
	return s
}
