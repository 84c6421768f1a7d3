package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posterndev/postern/sidecar/audit/auditsql"
	"github.com/posterndev/postern/sidecar/audit/retention"
)

func newAuditRolesCommand() *cobra.Command {
	return &cobra.Command{
		Use: "roles", Short: "Print the SQL that makes the roles of the audit trail", Args: onlyFlags,
		Long: "Prints the statements that an administrator of the database runs once before postern audit migrate:\n\n" +
			"  postern audit roles | psql -d postern",
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprint(cmd.OutOrStdout(), auditsql.Roles)
			return err
		},
	}
}

func newAuditMigrateCommand() *cobra.Command {
	o := &databaseFlags{}
	cmd := &cobra.Command{
		Use: "migrate --database-url postgresql://user@host/postern", Short: "Create or update the tables of the audit trail", Args: onlyFlags,
		Long: "Runs the migrations that the database does not have, as the role " + auditsql.Owner + ", of which the user is a member. It may be run again, and\n" +
			"by several processes at once. It connects to PostgreSQL itself, not through PgBouncer in transaction mode.\n\n" + databaseHelp,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := o.config()
			if err != nil {
				return err
			}
			applied, err := auditsql.Migrate(cmd.Context(), config, slog.New(slog.DiscardHandler))
			for _, version := range applied {
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "migration %d applied\n", version); err != nil {
					return err
				}
			}
			if err == nil && len(applied) == 0 {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), "the database is up to date")
			}
			return err
		},
	}
	o.addFlags(cmd)
	return cmd
}

func newAuditMaintainCommand() *cobra.Command {
	o, c := &databaseFlags{}, retention.Config{Pruner: retention.Tree{}}
	var retentions []string
	cmd := &cobra.Command{
		Use: "maintain --database-url postgresql://user@host/postern", Short: "Make and drop the partitions of the audit trail", Args: onlyFlags,
		Long: "Makes the partitions of the coming months, and drops each month whose retention has passed and that no legal hold covers. Run it every\n" +
			"day, as the role " + auditsql.Owner + ", of which the user is a member. If another process is at it, the command does nothing.\n\n" +
			"A hold of one subject keeps every month of its time, also those in which the subject has no record.\n\n" + databaseHelp,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if c.Retentions, err = daysFlag("retentions", retentions); err != nil {
				return err
			}
			return o.maintain(cmd.Context(), c, cmd.OutOrStdout())
		},
	}
	o.addFlags(cmd)
	cmd.Flags().IntVar(&c.Ahead, "months-ahead", retention.DefaultAhead, "months after the present one that have partitions, 1 to 24")
	cmd.Flags().StringSliceVar(&retentions, "retentions", nil, "days that get partitions before they have records, as 30d,400d")
	cmd.Flags().StringSliceVar(&c.Force, "drop-broken", nil, "a partition that is dropped although its records do not follow each other; run postern audit verify first")
	cmd.Flags().DurationVar(&c.LockTimeout, "lock-timeout", retention.DefaultLockTimeout, "how long to wait for a table; writers wait as long")
	return cmd
}

// daysFlag reads numbers of days, with or without the unit that retain of a policy has.
func daysFlag(name string, texts []string) (days []int, err error) {
	for _, text := range texts {
		n, err := strconv.ParseUint(strings.TrimSuffix(text, "d"), 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("--%s is %q: write days, such as 30d,400d", name, text)
		}
		days = append(days, int(n))
	}
	return days, nil
}

func (o *databaseFlags) maintain(ctx context.Context, c retention.Config, out io.Writer) error {
	if c.Ahead < 1 {
		return errors.New("--months-ahead must be 1 to 24")
	}
	conn, err := o.connect(ctx)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	done, err := retention.Maintain(ctx, conn, time.Now(), c)
	if errors.Is(err, retention.ErrBusy) {
		_, err = fmt.Fprintln(out, "another process maintains the audit trail")
		return err
	}
	for _, line := range []struct {
		what  string
		names []string
	}{{"made", done.Made}, {"dropped", done.Dropped}, {"kept for a legal hold", done.Held}, {"kept until the retention in signed checkpoints has passed", done.Waiting}} {
		if len(line.names) > 0 {
			fmt.Fprintf(out, "%s: %s\n", line.what, strings.Join(line.names, " "))
		}
	}
	if done.Moved > 0 {
		fmt.Fprintf(out, "moved out of default partitions: %d rows\n", done.Moved)
	}
	if done.Keys > 0 {
		fmt.Fprintf(out, "keys of subjects without records deleted: %d\n", done.Keys)
	}
	if err == nil && len(done.Made)+len(done.Dropped)+len(done.Held)+len(done.Waiting) == 0 && done.Keys == 0 {
		_, err = fmt.Fprintln(out, "nothing to do")
	}
	return err
}
