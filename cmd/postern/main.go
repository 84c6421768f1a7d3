// Command postern is the command line: it checks and compiles policies, and runs them without a cluster. It also revokes tokens,
// lists and ends sessions, and shows what is enforced in a cluster.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set at link time.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newCommand()
	nameAfter(root, os.Args[0])
	if err := root.ExecuteContext(ctx); err != nil {
		if !printed(err) {
			fmt.Fprint(os.Stderr, errorLines(err))
		}
		os.Exit(exitCode(err))
	}
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "postern",
		Short:         "Check, compile and run SecurityPolicies, see what is enforced, revoke tokens, and manage sessions",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newInitCommand(), newLintCommand(), newCompileCommand(), newTestCommand(), newExplainCommand(), newRunCommand(), newTokenCommand(),
		newAPIKeyCommand(), newRevokeCommand(), newSessionsCommand(), newUnlockCommand(), newSubjectCommand(), newAuditCommand(), newCompilerCommand())
	root.AddCommand(newClusterCommands()...)
	return root
}

// pluginName is the name of the program with which kubectl runs it as kubectl postern.
const pluginName = "kubectl-postern"

// nameAfter makes help and completion use the name by which the program was started.
func nameAfter(root *cobra.Command, program string) {
	if filepath.Base(program) == pluginName {
		root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl postern"}
	}
}
