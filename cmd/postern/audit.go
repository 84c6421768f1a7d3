package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newAuditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "audit", Short: "Read, verify and export the audit trail, maintain its database, and place legal holds", Args: onlyFlags,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newAuditVerifyCommand(), newAuditSearchCommand(), newAuditTailCommand(), newAuditExportCommand(), newAuditPublicKeyCommand(),
		newAuditRolesCommand(), newAuditMigrateCommand(), newAuditMaintainCommand(), newAuditHoldCommand())
	explain(cmd)
	return cmd
}

// explain makes all commands below cmd say what to do about an error of the database.
func explain(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		run := c.RunE
		c.RunE = func(cmd *cobra.Command, args []string) error { return explained(run(cmd, args)) }
		explain(c)
	}
}

func newAuditPublicKeyCommand() *cobra.Command {
	file := ""
	cmd := &cobra.Command{
		Use: "public-key --key-file FILE", Short: "Print the public key of checkpoints", Args: onlyFlags,
		Long: "Prints the key that `postern audit verify --public-key` and tools for signed notes (C2SP signed-note) need. It is no secret.\n" +
			"Keep it where nobody who can write to the trail can change it.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			keys, err := readMasterKey(file)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), verifierKey(keys))
			return err
		},
	}
	cmd.Flags().StringVar(&file, "key-file", "", "the file of the master key")
	_ = cmd.MarkFlagRequired("key-file")
	return cmd
}
