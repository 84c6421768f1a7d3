package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/posterndev/postern/sidecar/audit/rows"
)

func newAuditHoldCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "hold", Short: "Place, list and release legal holds", Args: onlyFlags,
		Long: "While a hold is not released, postern subject erase refuses to erase its subject, and postern audit maintain drops no month of its time.\n" +
			"The database user needs the role postern_audit_holder.",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newHoldAddCommand(), newHoldListCommand(), newHoldReleaseCommand())
	return cmd
}

// holdFlags are those of postern audit hold add.
type holdFlags struct {
	database    databaseFlags
	person      personFlags
	everything  bool
	reason, as  string
	since, till string
}

func newHoldAddCommand() *cobra.Command {
	h := &holdFlags{}
	cmd := &cobra.Command{
		Use: "add --subject ada [--account ada@example.com] --key-file FILE --reason TEXT", Short: "Place a legal hold on a person, or on everything", Args: onlyFlags,
		Long: "A hold of a person covers the subject at --issuer, the subject where no issuer is named, and the account. Each has a row of its own.\n" +
			"The table has hashes in place of these names, for which the master key is needed. --from and --to are times of records, not of the hold:\n" +
			"it applies until it is released.\n\n" + databaseHelp,
		RunE: func(cmd *cobra.Command, _ []string) error { return h.add(cmd, time.Now()) },
	}
	h.database.addFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&h.person.subject, "subject", "", "sub of the person's tokens")
	f.StringVar(&h.person.issuer, "issuer", "", "iss of these tokens")
	f.StringVar(&h.person.account, "account", "", "the account, as its owner writes it to log in")
	f.StringVar(&h.person.keyFile, "key-file", "", "the file of the master key of the audit trail")
	f.BoolVar(&h.everything, "everything", false, "hold every record, of whomever")
	f.StringVar(&h.reason, "reason", "", "why, such as the number of the case")
	f.StringVar(&h.since, "from", "", "records from this time on: 2026-11-29T08:00:00Z, or 2026-11-29")
	f.StringVar(&h.till, "to", "", "records before this time")
	f.StringVar(&h.as, "as", "", "who places the hold (default: only the database user is recorded)")
	return cmd
}

func (h *holdFlags) add(cmd *cobra.Command, now time.Time) error {
	hold := rows.Hold{Reason: h.reason}
	subjects, err := h.subjects()
	if err != nil {
		return err
	}
	if h.reason == "" {
		return errors.New("--reason is required")
	}
	if hold.From, err = timeFlag("from", h.since, now); err != nil {
		return err
	}
	if hold.To, err = timeFlag("to", h.till, now); err != nil {
		return err
	}
	if !hold.From.IsZero() && !hold.To.IsZero() && !hold.From.Before(hold.To) {
		return errors.New("--from is not before --to")
	}
	ctx := cmd.Context()
	conn, err := h.database.connect(ctx)
	if err != nil {
		return err
	}
	defer closing(ctx, conn)
	if hold.PlacedBy, err = databaseActor(ctx, conn, h.as); err != nil {
		return err
	}
	placed, err := rows.PlaceHolds(ctx, conn, hold, subjects...)
	for _, p := range placed {
		fmt.Fprintf(cmd.OutOrStdout(), "held: %s\n", p.ID)
	}
	return err
}

// subjects returns the hashes of the person; none for everything.
func (h *holdFlags) subjects() ([][]byte, error) {
	named := h.person.subject != "" || h.person.account != ""
	switch {
	case h.everything && (named || h.person.issuer != ""):
		return nil, errors.New("--everything holds every record: leave out the names")
	case h.everything:
		return nil, nil
	case !named:
		return nil, errors.New("--subject, --account or --everything is required")
	}
	return h.person.holdHashes()
}

// holdHashes are the hashes by which holds name the person: at the issuer, and where no issuer is named.
func (p *personFlags) holdHashes() ([][]byte, error) {
	if p.keyFile == "" {
		return nil, errors.New("--key-file is required: the table has hashes in place of names")
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	keys, err := readMasterKey(p.keyFile)
	if err != nil {
		return nil, err
	}
	return p.hashes(keys, slices.Compact([]string{"", p.issuer})), nil
}

// holdList is postern audit hold list.
type holdList struct {
	database databaseFlags
	person   personFlags
	all      bool
}

func newHoldListCommand() *cobra.Command {
	l := &holdList{}
	cmd := &cobra.Command{
		Use: "list [--all] [--subject ada --key-file FILE]", Short: "List the legal holds", Args: onlyFlags,
		Long: "Lists the holds that apply; with --all also those that were released. With a name and the master key it lists those that cover this person.\n\n" + databaseHelp,
		RunE: func(cmd *cobra.Command, _ []string) error { return l.run(cmd) },
	}
	l.database.addFlags(cmd)
	f := cmd.Flags()
	f.BoolVar(&l.all, "all", false, "also holds that were released")
	f.StringVar(&l.person.subject, "subject", "", "only holds that cover this subject")
	f.StringVar(&l.person.issuer, "issuer", "", "iss of the subject")
	f.StringVar(&l.person.account, "account", "", "only holds that cover this account")
	f.StringVar(&l.person.keyFile, "key-file", "", "the file of the master key of the audit trail")
	return cmd
}

func (l *holdList) run(cmd *cobra.Command) error {
	var hashes [][]byte
	if l.person.subject != "" || l.person.account != "" {
		var err error
		if hashes, err = l.person.holdHashes(); err != nil {
			return err
		}
	}
	ctx := cmd.Context()
	conn, err := l.database.connect(ctx)
	if err != nil {
		return err
	}
	defer closing(ctx, conn)
	found, err := rows.Holds(ctx, conn, l.all)
	if err != nil {
		return err
	}
	if hashes != nil {
		found = slices.DeleteFunc(found, func(h rows.Hold) bool {
			return h.Subject != nil && !slices.ContainsFunc(hashes, func(b []byte) bool { return bytes.Equal(b, h.Subject) })
		})
	}
	return printHolds(cmd.OutOrStdout(), found)
}

func printHolds(w io.Writer, holds []rows.Hold) error {
	if len(holds) == 0 {
		_, err := fmt.Fprintln(w, "no holds")
		return err
	}
	day := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return t.UTC().Format(time.RFC3339)
	}
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "ID\tOF\tFROM\tTO\tREASON\tPLACED\tBY\tRELEASED\tBY")
	for _, h := range holds {
		of := "everything"
		if h.Subject != nil {
			of = fmt.Sprintf("%.8x", h.Subject)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", h.ID, of, day(h.From), day(h.To), printable(h.Reason), day(h.Placed), printable(h.PlacedBy), day(h.Released), printable(h.ReleasedBy))
	}
	return table.Flush()
}

// holdRelease is postern audit hold release.
type holdRelease struct {
	database databaseFlags
	ids      []string
	as       string
}

func newHoldReleaseCommand() *cobra.Command {
	r := &holdRelease{}
	cmd := &cobra.Command{
		Use: "release --id ID", Short: "Release legal holds", Args: onlyFlags,
		Long: "A released hold stays in the table, with who released it.\n\n" + databaseHelp,
		RunE: func(cmd *cobra.Command, _ []string) error { return r.run(cmd) },
	}
	r.database.addFlags(cmd)
	cmd.Flags().StringSliceVar(&r.ids, "id", nil, "the id of a hold; may be repeated")
	cmd.Flags().StringVar(&r.as, "as", "", "who releases the hold (default: only the database user is recorded)")
	return cmd
}

func (r *holdRelease) run(cmd *cobra.Command) error {
	ids, err := parseIDs(r.ids)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	conn, err := r.database.connect(ctx)
	if err != nil {
		return err
	}
	defer closing(ctx, conn)
	by, err := databaseActor(ctx, conn, r.as)
	if err != nil {
		return err
	}
	var failures []error
	for _, id := range ids {
		if err := rows.ReleaseHold(ctx, conn, id, by); err != nil {
			failures = append(failures, err)
			continue
		}
		fmt.Fprintf(cmd.OutOrStdout(), "released: %s\n", id)
	}
	return errors.Join(failures...)
}

func parseIDs(texts []string) (ids []uuid.UUID, err error) {
	for _, text := range texts {
		id, err := uuid.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("--id %q is not an id: postern audit hold list prints them", text)
		}
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return nil, errors.New("--id is required")
	}
	return ids, nil
}
