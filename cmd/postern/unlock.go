package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"
)

func newUnlockCommand() *cobra.Command {
	o, account := &sidecarFlags{}, ""
	cmd := &cobra.Command{
		Use: "unlock --account ada@example.com -n shop --policy accounts", Short: "Clear the failed logins and locks of an account", Args: onlyFlags,
		Long: "Calls the loopback API of a pod that runs the policy, through a port-forward. It needs permission to list pods and to\n" +
			"forward ports to them. With --server it calls the API at a URL instead, for example that of postern run.\n\n" +
			"It clears what loginProtection counts against the account: failures, locks, and requests for a new password. It says the\n" +
			"same about accounts that are not locked or do not exist. Addresses stay locked.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if account == "" {
				return errors.New("--account is required")
			}
			return o.unlock(cmd, account)
		},
	}
	cmd.Flags().StringVar(&account, "account", "", "the account, as its owner writes it to log in")
	o.addFlags(cmd)
	return cmd
}

func (o *sidecarFlags) unlock(cmd *cobra.Command, account string) error {
	var response struct {
		Shared *bool `json:"shared"`
	}
	err := o.at(cmd, func(ctx context.Context, api *loopbackAPI) error {
		return api.call(ctx, http.MethodPost, "/v1/login-locks/clear", map[string]string{"account": account}, &response)
	})
	if err != nil {
		return err
	}
	if response.Shared == nil {
		return errors.New("the server is not a sidecar's loopback API")
	}
	text := "cleared, in all pods of the policy"
	if !*response.Shared {
		text = "cleared, in one pod only: the SidecarClass has no Redis, so each pod counts by itself. Run the command with --server for each pod, or restart the pods"
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
	return err
}
