package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/posterndev/postern/sidecar/audit/personal"
	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/rows"
)

// subjectExport is postern subject export.
type subjectExport struct {
	person personFlags
	parts  partFlags
	keys   *personal.Keys
	// names are the person's names with their pseudonyms.
	names rows.Person
	// issuers are those under which the trail names the subject.
	issuers []string
	// missing are the parts that are not in the document, and why.
	missing []missingPart
	// others, withheld and unreadable count records: of the same subject at other issuers, about others, and with fields that cannot be decrypted.
	others, withheld, unreadable int
	// changed counts rows that are no records, and those with fields that are not what a sidecar with this master key wrote.
	changed int
}

type missingPart struct {
	Part string `json:"part"`
	Why  string `json:"why"`
}

func newSubjectExportCommand() *cobra.Command {
	e := &subjectExport{}
	cmd := &cobra.Command{
		Use: "export --subject ada [--account ada@example.com] -n shop --policy orders [--database-url URL --key-file FILE]", Args: onlyFlags,
		Short: "Write what Postern holds of a person, as one JSON document (GDPR Art. 15 and 20)",
		Long: "Writes what Redis holds (sessions with devices and claims, revocations, failed logins, dates of passwords) and what the audit trail\n" +
			"holds. It has no tokens, hashes or keys. not_included in the document says what is left out, and why. The document is complete only if the\n" +
			"command exits with 0. The export is recorded in the audit trail (export_subject).\n\n" +
			"The trail is searched if a database is named. It needs the role postern_audit_reader, and the master key if the policy has pseudonyms or\n" +
			"encrypted fields. Of records about what the person did to others, the names and the changes of the others are left out.\n\n" + databaseHelp,
		RunE: func(cmd *cobra.Command, _ []string) error { return e.run(cmd) },
	}
	e.person.addFlags(cmd)
	e.parts.addFlags(cmd)
	return cmd
}

func (e *subjectExport) run(cmd *cobra.Command) error {
	if err := errors.Join(e.person.check(), e.parts.check()); err != nil {
		return err
	}
	if e.person.keyFile != "" {
		var err error
		if e.keys, err = readMasterKey(e.person.keyFile); err != nil {
			return err
		}
	}
	held, err := e.fromSidecar(cmd)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(cmd.OutOrStdout())
	names, err := json.Marshal(e.person.request())
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "{\"person\": %s,\n\"time\": %q", printableJSON(names), time.Now().UTC().Format(time.RFC3339))
	if held != nil {
		fmt.Fprintf(out, ",\n\"redis\": %s", printableJSON(held))
	}
	if err := e.fromTrail(cmd, out); err != nil {
		return err
	}
	missing, err := json.Marshal(append([]missingPart{}, e.missing...))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, ",\n\"not_included\": %s}\n", printableJSON(missing))
	if err := out.Flush(); err != nil {
		return err
	}
	return e.incomplete()
}

func (e *subjectExport) leave(part, format string, args ...any) {
	e.missing = append(e.missing, missingPart{part, fmt.Sprintf(format, args...)})
}

// fromSidecar returns what Redis holds; nil if it is not asked.
func (e *subjectExport) fromSidecar(cmd *cobra.Command) (json.RawMessage, error) {
	if e.parts.skipSidecar {
		e.issuers = e.person.issuers("", false)
		e.leave("redis", "not asked for (--skip-sidecar)")
		return nil, nil
	}
	var held json.RawMessage
	err := e.parts.sidecar.at(cmd, func(ctx context.Context, api *loopbackAPI) error {
		return api.call(ctx, http.MethodPost, "/v1/subjects/export", e.person.request(), &held)
	})
	if err != nil {
		return nil, err
	}
	var response struct {
		Time    time.Time
		Issuer  string
		Own     bool `json:"own_issuer"`
		Shared  bool
		Omitted []omission
	}
	if err := json.Unmarshal(held, &response); err != nil || response.Time.IsZero() {
		return nil, errors.New("the server is not a sidecar's loopback API")
	}
	e.issuers = e.person.issuers(response.Issuer, response.Own)
	for _, o := range response.Omitted {
		e.leave("redis: "+o.Part, "%s", omissionText(o.Reason))
	}
	if !response.Shared {
		e.leave("other pods", "the SidecarClass has no Redis, so each pod holds its own: run the command with --server for each pod")
	}
	return held, nil
}

// omission is a part that is not in a response of the loopback API.
type omission struct{ Part, Reason string }

// omissionText explains a reason of the loopback API.
func omissionText(reason string) string {
	switch reason {
	case "not-enabled":
		return "the policy has no such section"
	case "subject-not-given":
		return "not asked for: --subject names it"
	case "account-not-given":
		return "not asked for: --account names it"
	case "not-stored-by-person":
		return "stored under hashes that nobody can find by a name"
	}
	return reason
}

// fromTrail writes the member with the records of the audit trail.
func (e *subjectExport) fromTrail(cmd *cobra.Command, out io.Writer) error {
	switch {
	case e.parts.skipDatabase:
		e.leave("audit_trail", "not asked for (--skip-database)")
		return nil
	case !e.parts.hasDatabase():
		e.leave("audit_trail", "not asked for: no --database-url and no PG variable names a database")
		return nil
	}
	ctx := cmd.Context()
	conn, err := e.parts.database.connect(ctx)
	if err != nil {
		return err
	}
	defer closing(ctx, conn)
	find := rows.Keys(ctx, conn)
	fmt.Fprint(out, ",\n\"audit_trail\": [")
	separator := "\n"
	e.names = e.personNames()
	err = rows.About(ctx, conn, e.names, func(r *record.Record) error {
		if r == nil {
			e.changed++
			return nil
		}
		if !e.own(r) {
			e.others++
			return nil
		}
		encoded, err := e.readable(r, find)
		if err == nil {
			_, err = fmt.Fprintf(out, "%s%s", separator, printableJSON(encoded))
			separator = ",\n"
		}
		return err
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(out, "]")
	e.notes()
	return err
}

// personNames returns the person's names and their pseudonyms.
func (e *subjectExport) personNames() (p rows.Person) {
	if e.person.subject != "" {
		p.Subjects = []string{e.person.subject}
	}
	p.Accounts = e.person.accounts()
	if e.keys == nil {
		return p
	}
	for _, names := range []*[]string{&p.Subjects, &p.Accounts} {
		for _, name := range slices.Clone(*names) {
			*names = append(*names, e.keys.Pseudonym(string(personal.Subject), name))
		}
	}
	return p
}

// own reports whether a record is about the person, and not about a namesake of another issuer.
func (e *subjectExport) own(r *record.Record) bool {
	return !slices.Contains(e.names.Subjects, r.Subject) || slices.Contains(e.issuers, r.Issuer)
}

// readable returns the JSON of a record, with what can be decrypted, and without what is about others.
func (e *subjectExport) readable(r *record.Record, find personal.Find) ([]byte, error) {
	if !slices.Contains(e.names.Subjects, r.Subject) && (r.Subject != "" || !slices.Contains(e.names.Accounts, r.Account)) {
		e.withheld++
		r.Subject, r.Account, r.Issuer, r.Resource, r.Changes, r.Encrypted = "", "", "", nil, nil, nil
	}
	if r.Encrypted != nil && e.keys == nil {
		e.unreadable++
	} else if r.Encrypted != nil {
		complete, err := personal.Reveal(r, e.keys, find)
		switch {
		case errors.Is(err, personal.ErrChanged):
			e.changed++
		case err != nil:
			return nil, err
		case !complete:
			e.unreadable++
		}
	}
	return r.Encode()
}

// notes says what is missing in the records.
func (e *subjectExport) notes() {
	if e.keys == nil {
		e.leave("audit_trail: pseudonyms", "records with a pseudonym of the person are not found without --key-file")
	}
	if e.person.account == "" {
		e.leave("audit_trail: logins by account", "not asked for: --account names them")
	}
	if e.others > 0 {
		e.leave("audit_trail: other issuers", "%d records name this subject with another issuer or without one: it may be somebody else. --issuer names another one, and --without-issuer adds those without", e.others)
	}
	if e.withheld > 0 {
		e.leave("audit_trail: others", "%d records are about what the person did to others, whose names and changes are left out", e.withheld)
	}
	if e.unreadable > 0 {
		e.leave("audit_trail: encrypted fields", "fields of %d records cannot be decrypted: their keys were erased, or --key-file is missing", e.unreadable)
	}
	if e.changed > 0 {
		e.leave("audit_trail: changed records", "%d rows are not, or not in all fields, what a sidecar with this key wrote; see postern audit verify", e.changed)
	}
	e.leave("audit records on their way", "records of the last minutes may be in the spool of a pod or in a Redis stream; the log of the sidecars is searched with postern audit search -f")
}

// incomplete returns an error if records are not what a sidecar wrote. The document has the rest of them.
func (e *subjectExport) incomplete() error {
	if e.changed == 0 {
		return nil
	}
	return fmt.Errorf("%s could not be read in full: something was changed, or --key-file is another key; the document has the rest; see postern audit verify", count(e.changed, "record", "records"))
}
