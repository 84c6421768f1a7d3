package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

// sidecarFlags choose a sidecar whose loopback API a command calls.
type sidecarFlags struct {
	policy, server, as string
	access             access
}

func (o *sidecarFlags) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.policy, "policy", "", "the SecurityPolicy (default: the only one that pods of the namespace run)")
	f.StringVar(&o.server, "server", "", "URL of a sidecar's loopback API, as http://127.0.0.1:15992, to use in place of a cluster")
	f.StringVar(&o.as, "as", "", asUsage)
	o.access.addFlags(cmd)
}

// asUsage describes the flag --as.
const asUsage = "who acts, for the audit trail; in a cluster, the user to impersonate, as in kubectl (default: the user of the kubeconfig)"

// at calls f with the loopback API.
func (o *sidecarFlags) at(cmd *cobra.Command, f func(context.Context, *loopbackAPI) error) error {
	server, performedBy := o.server, o.as
	if server != "" {
		for _, name := range []string{"policy", "kubeconfig", "context", "namespace", "request-timeout"} {
			if cmd.Flags().Changed(name) {
				return fmt.Errorf("--%s cannot be used with --server: it applies only to a cluster", name)
			}
		}
	} else {
		forwarded, stop, err := o.access.forward(cmd.Context(), o.policy, o.as)
		if err != nil {
			return err
		}
		defer stop()
		if server = forwarded; performedBy == "" {
			performedBy = o.access.user(cmd.Context())
		}
	}
	api, err := newLoopbackAPI(server)
	if err != nil {
		return err
	}
	api.performedBy = performedBy
	return f(cmd.Context(), api)
}
