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
	"golang.org/x/term"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/cmd/postern/internal/overview"
	"github.com/posterndev/postern/cmd/postern/internal/screen"
)

// Values of -o.
const (
	outputText = ""
	outputWide = "wide"
	outputJSON = "json"
	outputYAML = "yaml"
)

// statusOptions are the flags of postern status.
type statusOptions struct {
	access   access
	all      bool
	watch    bool
	interval time.Duration
	output   string
	name     string
}

func newStatusCommand() *cobra.Command {
	o := &statusOptions{}
	cmd := &cobra.Command{
		Use:   "status [POLICY | POD]",
		Short: "Show which policies guard which pods, what is wrong, and which command mends it",
		Long: "Shows each SecurityPolicy: whether it is enforced and since when, on how many pods, and its sections. Below are the problems, each\n" +
			"with the command that mends it. A name of a policy or of a pod (or policy/NAME, pod/NAME) shows that one in detail.\n\n" +
			"A pod counts only if its own sidecar reports that it runs the policy's document, in the last 16 minutes. So the result is right\n" +
			"even if the operator is stopped and the policy's status is old.\n\n" +
			"It reads SecurityPolicies, SidecarClasses, pods, the namespace and the workloads, with your permissions. It needs permission for\n" +
			"policies only, and names what else it may not read. It changes nothing.\n\n" +
			"Column ENFORCED:\n" +
			"  yes      every pod of the policy enforces it\n" +
			"  NO       something is not enforced, see below\n" +
			"  shadow   the policy's mode is Shadow: nothing is refused\n" +
			"  no pods  no running pod matches the selector\n" +
			"  unknown  the operator has not processed the policy yet\n\n" +
			"Exit codes:\n" +
			"  0  there is a policy, and all are enforced or have no pods\n" +
			"  1  the cluster could not be read\n" +
			"  2  something is not enforced, or there is no policy",
		Example: "  postern status\n" +
			"  postern status -A -o wide\n" +
			"  postern status orders -n shop\n" +
			"  postern status pod/orders-7d8f9c-abcde\n" +
			"  kubectl postern status --watch",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: o.complete,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.name = args[0]
			}
			return o.run(cmd)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.all, "all-namespaces", "A", false, "show the policies of all namespaces")
	f.StringVarP(&o.output, "output", "o", "", "json, yaml, or wide for more columns and a table of the pods")
	f.BoolVarP(&o.watch, "watch", "w", false, "repeat: a terminal is redrawn, and otherwise a line is appended for each change")
	f.DurationVar(&o.interval, "interval", 2*time.Second, "time between two reads with --watch, at least 500ms")
	o.access.addFlags(cmd)
	completeValues(cmd, "output", outputJSON, outputYAML, outputWide)
	return cmd
}

func (o *statusOptions) check(cmd *cobra.Command) error {
	switch {
	case o.output != outputText && o.output != outputWide && o.output != outputJSON && o.output != outputYAML:
		return fmt.Errorf("--output %q is not json, yaml or wide", o.output)
	case o.all && cmd.Flags().Changed("namespace"):
		return errors.New("--all-namespaces and --namespace exclude each other")
	case o.all && o.name != "":
		return errors.New("a name needs one namespace: use -n in place of -A")
	case o.interval < 500*time.Millisecond:
		return fmt.Errorf("--interval %s is less than 500ms", o.interval)
	}
	return nil
}

func (o *statusOptions) run(cmd *cobra.Command) error {
	if err := o.check(cmd); err != nil {
		return err
	}
	namespace, config, err := o.access.scope(o.all, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	c, err := reader(config)
	if err != nil {
		return err
	}
	read := func(ctx context.Context) (overview.Overview, error) { return o.read(ctx, c, namespace) }
	if o.watch {
		return o.follow(cmd, read, namespace)
	}
	got, err := read(cmd.Context())
	if err != nil {
		return err
	}
	text, err := o.format(got, styleOf(cmd.OutOrStdout(), os.Getenv), namespace)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(cmd.OutOrStdout(), text); err != nil {
		return err
	}
	if !got.Enforced {
		return &exitError{exitNotEnforced, "something is not enforced"}
	}
	return nil
}

func (o *statusOptions) read(ctx context.Context, c client.Reader, namespace string) (overview.Overview, error) {
	in, err := observe(ctx, c, namespace)
	if err != nil {
		return overview.Overview{}, err
	}
	got := overview.Of(in)
	if o.name == "" {
		return got, nil
	}
	part, err := got.Only(o.name)
	if err != nil {
		return overview.Overview{}, fmt.Errorf("in namespace %s: %w", namespace, err)
	}
	return part, nil
}

// format returns the overview in the format of --output.
func (o *statusOptions) format(got overview.Overview, style screen.Style, namespace string) (string, error) {
	switch o.output {
	case outputJSON:
		b, err := json.MarshalIndent(got, "", "  ")
		return string(printableJSON(b)) + "\n", err
	case outputYAML:
		b, err := yaml.Marshal(got)
		return string(b), err
	}
	where := "namespace " + namespace
	if namespace == "" {
		where = "any namespace"
	}
	return got.Text(overview.Options{
		Style: style, Wide: o.output == outputWide, Detail: o.name != "", Namespaces: o.all, Where: where, Now: time.Now(),
	}), nil
}

// complete completes the names of policies.
func (o *statusOptions) complete(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return o.access.policyNames(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
}

// styleOf returns how w shows text. Colours are used only on terminals, and not if NO_COLOR (no-color.org) is set or TERM is dumb.
func styleOf(w io.Writer, getenv func(string) string) screen.Style {
	if !isTerminal(w) {
		return screen.Style{}
	}
	style := screen.Style{Colour: getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"}
	if columns, rows, err := term.GetSize(int(w.(*os.File).Fd())); err == nil {
		style.Width, style.Height = columns, rows
	}
	return style
}
