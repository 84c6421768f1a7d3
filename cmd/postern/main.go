// Command postern is the command line: it checks and compiles policies, and runs them without a cluster. It also revokes tokens,
// and lists and ends sessions.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set at link time.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newCommand().ExecuteContext(ctx); err != nil {
		if !errors.Is(err, errFindings) {
			fmt.Fprintln(os.Stderr, "postern:", err)
		}
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "postern",
		Short:         "Check, compile and run SecurityPolicies, revoke tokens, and manage sessions",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newInitCommand(), newLintCommand(), newCompileCommand(), newTestCommand(), newExplainCommand(), newRunCommand(), newTokenCommand(),
		newAPIKeyCommand(), newRevokeCommand(), newSessionsCommand(), newUnlockCommand(), newAuditCommand())
	return root
}
