package main

import (
	"context"
	"errors"
	"os"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/posterndev/postern/sidecar/audit/personal"
	"github.com/posterndev/postern/sidecar/stages/loginprotection"
)

func newSubjectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "subject", Short: "Export and erase what Postern holds of a person", Args: onlyFlags,
		Long: "Finds a person in two places: in Redis, through the loopback API of a pod that runs the policy, and in the database of the audit\n" +
			"trail. A person has two names: the subject of their tokens (--subject, with --issuer for an external one), and the account with\n" +
			"which they log in (--account). Give both.",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSubjectExportCommand(), newSubjectEraseCommand())
	return cmd
}

// personFlags name a person.
type personFlags struct {
	subject, issuer, account string
	issuerless               bool
	keyFile                  string
}

func (p *personFlags) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&p.subject, "subject", "", "sub of the person's tokens")
	f.StringVar(&p.issuer, "issuer", "", "iss of an external provider of these tokens (default: the policy's own tokens)")
	f.StringVar(&p.account, "account", "", "the account, as its owner writes it to log in")
	f.BoolVar(&p.issuerless, "without-issuer", false, "also what the audit trail says of the subject without an issuer, such as events of the app")
	f.StringVar(&p.keyFile, "key-file", "", "the file of the master key of the audit trail: to find pseudonyms, and to read or erase encrypted fields")
}

func (p *personFlags) check() error {
	switch {
	case p.subject == "" && p.account == "":
		return errors.New("--subject or --account is required")
	case p.issuer != "" && p.subject == "":
		return errors.New("--issuer needs --subject")
	}
	return nil
}

// request is a request of the loopback API.
func (p *personFlags) request() map[string]string {
	body := map[string]string{}
	for name, value := range map[string]string{"subject": p.subject, "issuer": p.issuer, "account": p.account} {
		if value != "" {
			body[name] = value
		}
	}
	return body
}

// issuers are the issuers under which the audit trail names the subject, with the empty one if own tokens are meant: events about own sessions
// have none. told is the issuer that the sidecar told, or empty.
func (p *personFlags) issuers(told string, own bool) []string {
	var all []string
	if told == "" {
		told = p.issuer
	}
	if told != "" {
		all = append(all, told)
	}
	if own || told == "" || p.issuerless {
		all = append(all, "")
	}
	return all
}

// accounts are the spellings of the account in records.
func (p *personFlags) accounts() []string {
	if p.account == "" {
		return nil
	}
	return slices.Compact([]string{p.account, loginprotection.Canonical(p.account)})
}

// hashes are the names under which the keys of the person are stored.
func (p *personFlags) hashes(keys *personal.Keys, issuers []string) (hashes [][]byte) {
	if p.subject != "" {
		for _, issuer := range issuers {
			hashes = append(hashes, keys.SubjectHash(issuer, p.subject))
		}
	}
	for _, account := range p.accounts() {
		hashes = append(hashes, keys.SubjectHash("", account))
	}
	return hashes
}

// partFlags choose the places.
type partFlags struct {
	sidecar                   sidecarFlags
	database                  databaseFlags
	skipSidecar, skipDatabase bool
}

func (p *partFlags) addFlags(cmd *cobra.Command) {
	p.sidecar.addFlags(cmd)
	p.database.addFlags(cmd)
	cmd.Flags().BoolVar(&p.skipSidecar, "skip-sidecar", false, "leave out what Redis holds")
	cmd.Flags().BoolVar(&p.skipDatabase, "skip-database", false, "leave out the audit trail")
}

// hasDatabase reports whether a database is named.
func (p *partFlags) hasDatabase() bool {
	named := p.database.url != ""
	for _, variable := range []string{"PGHOST", "PGDATABASE", "PGSERVICE"} {
		named = named || os.Getenv(variable) != ""
	}
	return named
}

func (p *partFlags) check() error {
	if p.skipSidecar && p.skipDatabase {
		return errors.New("--skip-sidecar and --skip-database leave nothing to do")
	}
	return nil
}

// closing closes a connection, also after the command was interrupted.
func closing(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), databaseTimeout)
	defer cancel()
	_ = conn.Close(ctx)
}

// databaseActor is who acts, for a table of the database: as, if it is given, and the user of the database.
func databaseActor(ctx context.Context, conn *pgx.Conn, as string) (string, error) {
	user := ""
	if err := conn.QueryRow(ctx, "SELECT session_user::text").Scan(&user); err != nil {
		return "", err
	}
	if as == "" {
		return "database user " + user, nil
	}
	return as + ", as database user " + user, nil
}
