package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/posterndev/postern/sidecar/audit/personal"
	"github.com/posterndev/postern/sidecar/audit/rows"
)

// subjectErasure is postern subject erase.
type subjectErasure struct {
	person      personFlags
	parts       partFlags
	reason      string
	yes, dryRun bool
	performedBy string
	keys        *personal.Keys
	conn        *pgx.Conn
}

func newSubjectEraseCommand() *cobra.Command {
	e := &subjectErasure{}
	cmd := &cobra.Command{
		Use: "erase --subject ada [--account ada@example.com] -n shop --policy orders --database-url URL --key-file FILE --reason TEXT --yes", Args: onlyFlags,
		Short: "Erase what Postern holds of a person (GDPR Art. 17)",
		Long: "Ends the sessions of the person and deletes their data, the failed logins and the old passwords from Redis, and then deletes the keys of\n" +
			"the person's encrypted fields from the database of the audit trail. Nobody can read these fields any more, and the trail still verifies. What\n" +
			"the trail has in the clear stays. It may be repeated, also after an error.\n\n" +
			"The database user needs the role postern_audit_eraser. A legal hold that covers the person or everything refuses the whole erasure. The\n" +
			"erasure is recorded in the trail (erase_subject), and with the reason in the database. Name nobody in --reason.\n\n" +
			"--dry-run shows what would be erased. It reads the person's data, so it is recorded as an export.\n\n" + databaseHelp,
		RunE: func(cmd *cobra.Command, _ []string) error { return e.run(cmd) },
	}
	e.person.addFlags(cmd)
	e.parts.addFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&e.reason, "reason", "", "why, such as the number of the request; name nobody")
	f.BoolVar(&e.yes, "yes", false, "erase: it cannot be undone")
	f.BoolVar(&e.dryRun, "dry-run", false, "show what would be erased")
	return cmd
}

func (e *subjectErasure) check() error {
	if err := errors.Join(e.person.check(), e.parts.check()); err != nil {
		return err
	}
	switch {
	case e.yes == e.dryRun:
		return errors.New("write --dry-run to see what would be erased, or --yes to erase it")
	case e.yes && e.reason == "":
		return errors.New("--reason is required")
	case !e.parts.skipDatabase && !e.parts.hasDatabase():
		return errors.New("--database-url or a PG variable is required for the audit trail; --skip-database leaves it out")
	case !e.parts.skipDatabase && e.person.keyFile == "":
		return errors.New("--key-file is required: the keys of a subject are stored under a hash; --skip-database leaves the audit trail out")
	}
	return nil
}

func (e *subjectErasure) run(cmd *cobra.Command) error {
	if err := e.check(); err != nil {
		return err
	}
	ctx := cmd.Context()
	if e.performedBy = e.parts.sidecar.as; !e.parts.skipDatabase {
		if err := e.open(ctx); err != nil {
			return err
		}
		defer closing(ctx, e.conn)
		if err := e.refuseHeld(ctx); err != nil {
			return err
		}
	}
	issuers, err := e.atSidecar(cmd)
	if err != nil {
		return err
	}
	if e.conn == nil {
		fmt.Fprintln(cmd.OutOrStdout(), "audit trail: left out (--skip-database)")
	} else if err := e.atDatabase(cmd, issuers); err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), "not reached: logs of the sidecars and copies of them, backups, and what the audit trail has in the clear; see docs/personal-data.md")
	return err
}

// open reads the master key and connects to the database.
func (e *subjectErasure) open(ctx context.Context) (err error) {
	if e.keys, err = readMasterKey(e.person.keyFile); err != nil {
		return err
	}
	e.conn, err = e.parts.database.connect(ctx)
	return err
}

// refuseHeld refuses before anything is erased. The names by the issuer that the sidecar tells are judged later, with the keys.
func (e *subjectErasure) refuseHeld(ctx context.Context) error {
	held, err := rows.HoldsOf(ctx, e.conn, e.person.hashes(e.keys, []string{"", e.person.issuer}))
	if err != nil {
		return err
	}
	if len(held) > 0 {
		return &rows.HeldError{Hold: held[0]}
	}
	return nil
}

// atRedis is what was erased, or would be, at the sidecar.
type atRedis struct {
	issuer                                     string
	own, shared                                bool
	sessions, failures, locks, passwords, kept int
	omitted                                    []omission
}

// atSidecar erases what Redis holds, or says what it would erase, and returns the issuers under which the audit trail names the subject.
func (e *subjectErasure) atSidecar(cmd *cobra.Command) (issuers []string, err error) {
	out := cmd.OutOrStdout()
	if e.parts.skipSidecar {
		fmt.Fprintln(out, "redis: left out (--skip-sidecar)")
		return e.person.issuers("", false), nil
	}
	ask, verb := eraseAtSidecar, "erased"
	if e.dryRun {
		ask, verb = lookAtSidecar, "would be erased"
	}
	var done *atRedis
	err = e.parts.sidecar.at(cmd, func(ctx context.Context, api *loopbackAPI) (err error) {
		e.performedBy = api.performedBy
		done, err = ask(ctx, api, e.person.request(), e.reason)
		return err
	})
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "redis: %s: %d sessions, %d failed logins and resets, %d locks, %d old passwords\n", verb, done.sessions, done.failures, done.locks, done.passwords)
	if done.kept > 0 {
		fmt.Fprintf(out, "redis: kept: %d revocations, until the tokens that they revoke have expired\n", done.kept)
	}
	if !done.shared {
		fmt.Fprintln(out, "redis: the SidecarClass has none, so this is one pod only: run the command with --server for each pod, or restart the pods")
	}
	for _, o := range done.omitted {
		fmt.Fprintf(out, "redis: left out: %s: %s\n", o.Part, omissionText(o.Reason))
	}
	return e.person.issuers(done.issuer, done.own), nil
}

// eraseAtSidecar erases.
func eraseAtSidecar(ctx context.Context, api *loopbackAPI, person map[string]string, reason string) (*atRedis, error) {
	var r struct {
		Issuer    string
		Own       bool `json:"own_issuer"`
		Shared    *bool
		Sessions  int
		Failures  int `json:"login_failures"`
		Locks     int `json:"login_locks"`
		Passwords int
		Kept      int `json:"revocations_kept"`
		Omitted   []omission
	}
	person["reason"] = reason
	if err := api.call(ctx, http.MethodPost, "/v1/subjects/erase", person, &r); err != nil {
		return nil, err
	}
	if r.Shared == nil {
		return nil, errors.New("the server is not a sidecar's loopback API")
	}
	return &atRedis{r.Issuer, r.Own, *r.Shared, r.Sessions, r.Failures, r.Locks, r.Passwords, r.Kept, r.Omitted}, nil
}

// lookAtSidecar says what would be erased.
func lookAtSidecar(ctx context.Context, api *loopbackAPI, person map[string]string, _ string) (*atRedis, error) {
	type counts struct{ Failures, Locks int }
	var r struct {
		Issuer                string
		Own                   bool `json:"own_issuer"`
		Shared                *bool
		Sessions, Revocations []struct{}
		Logins                counts
		Resets                counts `json:"password_resets"`
		Passwords             struct{ Remembered int }
		Omitted               []omission
	}
	if err := api.call(ctx, http.MethodPost, "/v1/subjects/export", person, &r); err != nil {
		return nil, err
	}
	if r.Shared == nil {
		return nil, errors.New("the server is not a sidecar's loopback API")
	}
	return &atRedis{r.Issuer, r.Own, *r.Shared, len(r.Sessions), r.Logins.Failures + r.Resets.Failures, r.Logins.Locks + r.Resets.Locks,
		r.Passwords.Remembered, len(r.Revocations), r.Omitted}, nil
}

// atDatabase erases the keys, or says how many it would erase.
func (e *subjectErasure) atDatabase(cmd *cobra.Command, issuers []string) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	hashes := e.person.hashes(e.keys, issuers)
	if e.dryRun {
		n, err := rows.CountKeys(ctx, e.conn, hashes)
		if err == nil {
			_, err = fmt.Fprintf(out, "audit trail: would be erased: %d keys of encrypted fields\n", n)
		}
		return err
	}
	by, err := databaseActor(ctx, e.conn, e.performedBy)
	if err != nil {
		return err
	}
	n, err := rows.Erase(ctx, e.conn, rows.Erasure{Subjects: hashes, Held: e.person.hashes(e.keys, []string{""}), PerformedBy: by, Reason: e.reason})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "audit trail: erased: %d keys of encrypted fields\n", n)
	return err
}
