package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posterndev/postern/cmd/postern/internal/screen"
	"github.com/posterndev/postern/sidecar/audit/personal"
	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/rows"
	"github.com/posterndev/postern/sidecar/audit/spool"
	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// auditFilter are the flags that select records.
type auditFilter struct {
	source        auditSource
	filter        rows.Filter
	subjects      []string
	accounts      []string
	since, until  string
	keyFile, form string
	limit         int
	keys          *personal.Keys
	find          personal.Find
	closeDatabase func()
}

func (a *auditFilter) addFlags(cmd *cobra.Command, form, forms string) {
	a.source.addFlags(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&a.subjects, "subject", nil, "records about a subject, or of what it did to others; may be repeated")
	f.StringArrayVar(&a.accounts, "account", nil, "also attempts to log in with this name, of which nobody knows who made them; it reads all records, so give --since")
	f.StringVar(&a.filter.Action, "action", "", "such as login, login_failed, revocation, CREATE")
	f.StringVar(&a.filter.Policy, "policy", "", "as namespace/name")
	f.StringVar(&a.filter.Outcome, "outcome", "", "success, refused, failed or shadow")
	f.StringVar(&a.since, "since", "", "from this time on: 2026-11-29T08:00:00Z, 2026-11-29, or a duration such as 24h before now")
	f.StringVar(&a.until, "until", "", "before this time")
	f.StringVar(&a.keyFile, "key-file", "", "the file of the master key: to find subjects by their pseudonyms, and to decrypt fields")
	f.StringVarP(&a.form, "output", "o", form, forms)
}

// prepare reads the flags.
func (a *auditFilter) prepare(cmd *cobra.Command, now time.Time) (err error) {
	outcomes := []string{string(event.Success), string(event.Refused), string(event.Failed), string(event.Shadow)}
	if a.filter.Outcome != "" && !slices.Contains(outcomes, a.filter.Outcome) {
		return fmt.Errorf("--outcome is %q: write %s", a.filter.Outcome, strings.Join(outcomes, ", "))
	}
	if a.filter.Policy != "" && !strings.Contains(a.filter.Policy, "/") {
		return fmt.Errorf("--policy is %q: write the namespace too, such as shop/%s", a.filter.Policy, a.filter.Policy)
	}
	if a.filter.From, err = timeFlag("since", a.since, now); err != nil {
		return err
	}
	if a.filter.To, err = timeFlag("until", a.until, now); err != nil {
		return err
	}
	a.filter.Subjects, a.filter.Accounts, a.closeDatabase = a.subjects, a.accounts, func() {}
	if a.keyFile == "" {
		return nil
	}
	if a.keys, err = readMasterKey(a.keyFile); err != nil {
		return err
	}
	a.filter.Subjects, a.filter.Accounts = subjectNames(a.subjects, a.keys), subjectNames(a.accounts, a.keys)
	if a.source.file == "" {
		conn, err := a.source.connect(cmd.Context())
		if err != nil {
			return err
		}
		a.find, a.closeDatabase = rows.Keys(cmd.Context(), conn), func() { _ = conn.Close(context.WithoutCancel(cmd.Context())) }
	}
	return nil
}

// subjectNames returns subjects with their pseudonyms, if the key is given.
func subjectNames(subjects []string, keys *personal.Keys) []string {
	out := slices.Clone(subjects)
	if keys != nil {
		for _, s := range subjects {
			out = append(out, keys.Pseudonym(string(personal.Subject), s))
		}
	}
	return out
}

// reveal decrypts the fields of a record, if the key is given and was not erased.
func (a *auditFilter) reveal(r *record.Record) error {
	if a.keys == nil || a.find == nil {
		return nil
	}
	_, err := personal.Reveal(r, a.keys, a.find)
	return err
}

// note says on the standard error what is wrong with one record.
func (*auditFilter) note(cmd *cobra.Command, text string) error {
	_, err := fmt.Fprintf(cmd.ErrOrStderr(), "note: %s; see postern audit verify\n", screen.Escape(text))
	return err
}

// timeFlag reads the time of a flag.
func timeFlag(name, text string, now time.Time) (time.Time, error) {
	t, err := searchTime(text, now)
	if err != nil {
		return t, fmt.Errorf("--%s is %w", name, err)
	}
	return t, nil
}

// searchTime reads a time or a duration before now; the zero time for an empty text.
func searchTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q: write a time such as 2026-11-29T08:00:00Z, or a duration such as 24h", text)
}

func newAuditSearchCommand() *cobra.Command {
	a := &auditFilter{}
	cmd := &cobra.Command{
		Use: "search [--subject ada] [--action login] [--since 24h]", Short: "Print records of the audit trail", Args: onlyFlags,
		Long:    "Prints the latest records that the flags select, the oldest first.\n\n" + auditSourceHelp,
		Example: "  postern audit search --subject ada --since 24h\n  postern audit search --subject ada --account ada@example.com --since 24h\n  postern audit search --action authorization_refused -o jsonl | jq .ip_address",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.prepare(cmd, time.Now()); err != nil {
				return err
			}
			defer a.closeDatabase()
			found := false
			if err := a.print(cmd, &a.filter, a.limit, func(*record.Record) bool { found = true; return false }); err != nil || found {
				return err
			}
			note(cmd.ErrOrStderr(), "no record matches; docs/audit.md lists the actions, such as login_failed and UPDATE")
			return nil
		},
	}
	a.addFlags(cmd, "text", "text, jsonl or csv")
	cmd.Flags().IntVar(&a.limit, "limit", 100, "at most this number of records; 0 for all")
	return cmd
}

// print prints records. After each one it calls seen, if that is not nil.
func (a *auditFilter) print(cmd *cobra.Command, filter *rows.Filter, limit int, seen func(*record.Record) (again bool)) error {
	p, err := newRecordPrinter(a.form, cmd.OutOrStdout())
	if err != nil {
		return err
	}
	err = a.source.each(cmd, filter, limit, func(row rows.Row) error {
		if row.Kind != spool.Record {
			return nil
		}
		r, err := record.Decode(row.Payload)
		if err != nil {
			return a.note(cmd, "a row is no record: "+err.Error()) // somebody who may only add rows must not be able to hide all others
		}
		if seen != nil && seen(r) {
			return nil
		}
		if err := a.reveal(r); errors.Is(err, personal.ErrChanged) {
			if err := a.note(cmd, err.Error()); err != nil {
				return err
			}
		} else if err != nil {
			return err
		}
		return p.print(r)
	})
	return errors.Join(err, p.flush())
}

func newAuditTailCommand() *cobra.Command {
	a := &auditFilter{}
	interval := 2 * time.Second
	cmd := &cobra.Command{
		Use: "tail [--subject ada] [--action login]", Short: "Print records of the audit trail as they are written", Args: onlyFlags,
		Long: "Prints the latest ten records that the flags select, and then new ones, until it is interrupted. Records arrive some seconds\n" +
			"after their event, and not in the order of their times.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.source.file != "" {
				return errors.New("tail reads the database: to follow a log, write kubectl logs -f ... | postern audit search -f - --limit 0")
			}
			if a.form == "csv" {
				return errors.New("--output is \"csv\": write text or jsonl")
			}
			if err := a.prepare(cmd, time.Now()); err != nil {
				return err
			}
			defer a.closeDatabase()
			return a.follow(cmd, interval)
		},
	}
	a.addFlags(cmd, "text", "text or jsonl")
	cmd.Flags().DurationVar(&interval, "interval", interval, "time between two looks at the database")
	return cmd
}

// lateness is how long after its event a record may be written and still be printed by tail.
const lateness = time.Minute

// follow prints the latest ten records, and then new ones until the context ends.
func (a *auditFilter) follow(cmd *cobra.Command, interval time.Duration) error {
	known := map[string]time.Time{}
	again := func(r *record.Record) bool {
		_, ok := known[r.ID.String()]
		known[r.ID.String()] = r.Time.Time
		return ok
	}
	recent := a.recent(time.Now())
	// What is there before the latest ten are printed is not new. It is read first, so that no record that arrives meanwhile is left out.
	if err := a.print(cmd, &recent, 0, func(r *record.Record) bool { again(r); return true }); err != nil {
		return err
	}
	if err := a.print(cmd, &a.filter, 10, func(r *record.Record) bool { again(r); return false }); err != nil {
		return err
	}
	for {
		select {
		case <-cmd.Context().Done():
			return nil
		case <-time.After(interval):
		}
		recent = a.recent(time.Now())
		for id, t := range known {
			if t.Before(recent.From) {
				delete(known, id)
			}
		}
		if err := a.print(cmd, &recent, 0, again); err != nil {
			return err
		}
	}
}

// recent returns the filter for records that may have been written a moment ago.
func (a *auditFilter) recent(now time.Time) rows.Filter {
	filter := a.filter
	if start := now.Add(-lateness); filter.From.Before(start) {
		filter.From = start
	}
	return filter
}

func newAuditExportCommand() *cobra.Command {
	a := &auditFilter{}
	cmd := &cobra.Command{
		Use: "export [--since 720h] -o jsonl", Short: "Write records of the audit trail as JSON Lines or CSV", Args: onlyFlags,
		Long: "Without flags that select records, JSON Lines have the whole trail with its checkpoints, in the bytes of its writers, so that\n" +
			"`postern audit verify -f` can check the export. With them, or as CSV, it has the selected records by time.\n\n" + auditSourceHelp,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.prepare(cmd, time.Now()); err != nil {
				return err
			}
			defer a.closeDatabase()
			if a.form == "jsonl" && a.keys == nil && a.all() {
				return a.exportChain(cmd)
			}
			return a.print(cmd, &a.filter, 0, nil)
		},
	}
	a.addFlags(cmd, "jsonl", "jsonl or csv")
	return cmd
}

// all reports whether no flag selects records.
func (a *auditFilter) all() bool {
	f := a.filter
	return len(f.Subjects)+len(f.Accounts) == 0 && f.Action == "" && f.Policy == "" && f.Outcome == "" && f.From.IsZero() && f.To.IsZero()
}
