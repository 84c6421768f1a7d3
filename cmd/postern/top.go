//go:build !nocluster

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"

	"github.com/posterndev/postern/cmd/postern/internal/screen"
)

// topOptions are the flags of postern top.
type topOptions struct {
	access              access
	all, byPod          bool
	accounts, addresses bool
	once                bool
	limit               int
	interval            time.Duration
	output              string
	policy              string
}

func newTopCommand() *cobra.Command {
	o := &topOptions{}
	cmd := &cobra.Command{
		Use:   "top [POLICY]",
		Short: "Show live requests, refusals and failed logins by policy or pod",
		Long: "Reads the metrics of the sidecars twice, one interval apart, and shows what happened in between, per second. A terminal is redrawn\n" +
			"with each interval. Otherwise, and with -o json or --once, it prints one sample and ends.\n\n" +
			"Columns:\n" +
			"  REQ/S            requests\n" +
			"  5XX/S            responses with a status of 500 or more, of the app or the sidecar\n" +
			"  REFUSED/S        requests that the policy or an overload refused\n" +
			"  SHADOW/S         requests that the policy would refuse, in mode Shadow\n" +
			"  FAILED LOGINS/S  failed and locked attempts at routes of loginProtection\n" +
			"  LOGINS/S         logins for which tokens were issued or refused (section tokens)\n" +
			"  OPEN             open requests\n" +
			"  SESSIONS         sessions, if they are in memory; a dash if they are in Redis, where sidecars do not count them\n\n" +
			"It lists pods, and reads each through the API server's proxy (permission to get pods/proxy), or by a port-forward if you may not use\n" +
			"that. A pod that does not answer is named, and the others are shown. --accounts and --addresses read the loopback API, which needs a\n" +
			"port-forward. They show who failed to log in, or was refused, most often in the last half hour or so.",
		Example: "  postern top\n" +
			"  postern top -A\n" +
			"  postern top accounts -n shop --by-pod\n" +
			"  postern top -n shop --accounts --addresses\n" +
			"  postern top -n shop -o json | jq .total.failedLogins",
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return o.access.policyNames(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.policy = args[0]
			}
			return o.run(cmd)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.all, "all-namespaces", "A", false, "show the policies of all namespaces")
	f.BoolVar(&o.byPod, "by-pod", false, "show a line for each pod")
	f.BoolVar(&o.accounts, "accounts", false, "list the accounts with the most failed logins")
	f.BoolVar(&o.addresses, "addresses", false, "list the addresses with the most failed logins and refused requests")
	f.IntVar(&o.limit, "limit", 10, "length of these lists, from 1 to 50")
	f.BoolVar(&o.once, "once", false, "print one sample, on a terminal too")
	f.DurationVar(&o.interval, "interval", 2*time.Second, "time between two reads, from 500ms to 10m")
	f.StringVarP(&o.output, "output", "o", "", "json: print one sample as JSON")
	o.access.addFlags(cmd)
	completeValues(cmd, "output", outputJSON)
	return cmd
}

func (o *topOptions) check(cmd *cobra.Command) error {
	switch {
	case o.output != outputText && o.output != outputJSON:
		return fmt.Errorf("--output %q is not json", o.output)
	case o.all && cmd.Flags().Changed("namespace"):
		return errors.New("--all-namespaces and --namespace exclude each other")
	case o.interval < 500*time.Millisecond || o.interval > 10*time.Minute:
		return fmt.Errorf("--interval %s is not between 500ms and 10m", o.interval)
	case o.limit < 1 || o.limit > 50:
		return fmt.Errorf("--limit %d is not between 1 and 50", o.limit)
	}
	return nil
}

func (o *topOptions) run(cmd *cobra.Command) error {
	if err := o.check(cmd); err != nil {
		return err
	}
	namespace, config, err := o.access.scope(o.all, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("connecting to the API server: %w", err)
	}
	pods, err := newPodReader(config, clients)
	if err != nil {
		return err
	}
	defer pods.close()
	t := &topReader{options: o, clients: clients, namespace: namespace, pods: pods}
	return t.run(cmd.Context(), cmd.OutOrStdout())
}

func (t *topReader) run(ctx context.Context, out io.Writer) error {
	live := isTerminal(out) && !t.options.once && t.options.output == outputText
	if _, err := t.read(ctx); err != nil {
		return err
	}
	if live {
		fmt.Fprint(out, clearAll+redraw+"reading "+count(len(t.before), "pod", "pods")+" …\n")
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(t.options.interval):
		}
		view, err := t.read(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !live:
			return err
		case err != nil:
			fmt.Fprintf(out, "\n%s\n", screen.Escape("not read: "+err.Error()))
			continue
		}
		if err := t.show(out, view, live); err != nil || !live {
			return err
		}
	}
}
