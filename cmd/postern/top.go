//go:build !nocluster

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/posterndev/postern/cmd/postern/internal/scrape"
	"github.com/posterndev/postern/cmd/postern/internal/screen"
	"github.com/posterndev/postern/controllers/deliver"
	podstatus "github.com/posterndev/postern/controllers/status"
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
	namespace := ""
	if !o.all {
		name, err := o.access.namespaceName()
		if err != nil {
			return err
		}
		namespace = name
	}
	config, err := o.access.rest(cmd.ErrOrStderr())
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

// topReader reads sidecars again and again.
type topReader struct {
	options   *topOptions
	clients   kubernetes.Interface
	namespace string
	pods      *podReader
	before    []scrape.Pod
	first     time.Time
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

func (t *topReader) show(out io.Writer, view scrape.View, live bool) error {
	if t.options.output == outputJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(view)
	}
	style := styleOf(out, os.Getenv)
	text := view.Text(style, t.options.byPod, t.options.all)
	if live {
		text = frame(text, style, t.options.interval, view.Time)
	}
	_, err := io.WriteString(out, text)
	return err
}

// read returns what happened since the last call.
func (t *topReader) read(ctx context.Context) (scrape.View, error) {
	pods, err := t.list(ctx)
	if err != nil {
		return scrape.View{}, err
	}
	after := t.pods.metrics(ctx, pods)
	view := scrape.View{Time: time.Now().UTC(), Rows: scrape.Rows(t.before, after, t.options.byPod)}
	if !t.first.IsZero() {
		view.Seconds = view.Time.Sub(t.first).Seconds()
	}
	view.Total = scrape.Total(view.Rows)
	for i := range after {
		if p := &after[i]; p.Err != nil {
			view.Unanswered = append(view.Unanswered, fmt.Sprintf("%s/%s: %v", p.Namespace, p.Name, p.Err))
		}
	}
	if (t.options.accounts || t.options.addresses) && !t.first.IsZero() {
		lists, failures := t.lists(ctx, pods)
		view.Lists, view.Unanswered = lists, append(view.Unanswered, failures...)
	}
	t.before, t.first = after, view.Time
	return view, nil
}

func (t *topReader) lists(ctx context.Context, pods []*corev1.Pod) (*scrape.Lists, []string) {
	tops, failures := t.pods.tops(ctx, pods)
	lists := scrape.Merge(tops, t.options.limit)
	if !t.options.accounts {
		lists.Accounts = nil
	}
	if !t.options.addresses {
		lists.Addresses, lists.Refused = nil, nil
	}
	return &lists, failures
}

// list returns the running pods with a sidecar, of one policy if one is named.
func (t *topReader) list(ctx context.Context) ([]*corev1.Pod, error) {
	var out []*corev1.Pod
	policies := map[string]bool{}
	for next := ""; ; {
		list, err := t.clients.CoreV1().Pods(t.namespace).List(ctx, metav1.ListOptions{Limit: pageSize, Continue: next})
		if apierrors.IsForbidden(err) {
			where := "namespace " + t.namespace
			if t.namespace == "" {
				where = "all namespaces: name one with -n"
			}
			return nil, errors.New("you may not list pods in " + where)
		}
		if err != nil {
			return nil, fmt.Errorf("listing pods: %w", err)
		}
		for i := range list.Items {
			pod := &list.Items[i]
			bound, ok := deliver.BoundPolicy(pod)
			if !ok || podstatus.Inactive(pod) || pod.Status.PodIP == "" {
				continue
			}
			policies[bound] = true
			if t.options.policy == "" || bound == t.options.policy {
				out = append(out, pod)
			}
		}
		if next = list.Continue; next == "" {
			break
		}
	}
	if len(out) == 0 && t.options.policy != "" {
		return nil, fmt.Errorf("no running pod runs the policy %q; pods run: %v", t.options.policy, sortedKeys(policies))
	}
	return out, nil
}
