//go:build !nocluster

package main

import "github.com/spf13/cobra"

// newClusterCommands returns the commands that only a cluster has a use for.
func newClusterCommands() []*cobra.Command {
	return []*cobra.Command{newStatusCommand(), newDoctorCommand(), newTopCommand(), newConsoleCommand()}
}
