package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// onlyFlags refuses arguments without a flag. cobra.NoArgs would call them unknown commands.
func onlyFlags(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("unexpected argument %q: %s takes flags only, see %s --help", args[0], cmd.CommandPath(), cmd.CommandPath())
}

// onlyFiles is onlyFlags for commands with -f. A shell expands -f *.yaml to one -f and several arguments.
func onlyFiles(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("unexpected argument %q: write -f before each file, as in -f policy.yaml -f class.yaml", args[0])
}
