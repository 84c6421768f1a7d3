package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/v1alpha1"
)

// revokeOptions are the flags of postern revoke.
type revokeOptions struct {
	target
	policy, reason, name string
	server               string
	access               access
	wait                 time.Duration
	dryRun               bool
	output               string
}

func newRevokeCommand() *cobra.Command {
	o := &revokeOptions{}
	cmd := &cobra.Command{
		Use:   "revoke --subject user-42 -n shop",
		Short: "Refuse tokens before they expire, and see that every sidecar does",
		Long: "Creates a TokenRevocation, waits until the operator has proved that every sidecar refuses what it names, and says how\n" +
			"long that took. Say one of --subject, --session-id, --token-id, --key-id, --token and --token-file.\n\n" +
			"With --server it asks a sidecar's loopback API instead, as that of postern run.\n\n" +
			"It exits with 1 where the revocation is not enforced in time; what was created stays.",
		Example: "  postern revoke --subject user-42 -n shop --reason 'laptop stolen'\n" +
			"  postern revoke --token - -n shop < token.jwt\n" +
			"  postern revoke --subject user-42 -n shop --dry-run > revocation.yaml\n" +
			"  postern revoke --subject user-42 --server http://127.0.0.1:15992",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	o.target.addFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.policy, "policy", "", "the one SecurityPolicy that it is for; left out: every policy of the namespace")
	f.StringVar(&o.reason, "reason", "", "a text for people")
	f.StringVar(&o.name, "name", "", "the object's name; left out: one is made up")
	f.DurationVar(&o.wait, "wait", 30*time.Second, "how long to wait for the proof; 0 for not at all")
	f.BoolVar(&o.dryRun, "dry-run", false, "print the object as YAML, and create nothing")
	f.StringVarP(&o.output, "output", "o", "", "yaml: print the object as it is at the end")
	f.StringVar(&o.server, "server", "", "URL of a sidecar's loopback API, as http://127.0.0.1:15992; no cluster is asked")
	o.access.addFlags(cmd)
	return cmd
}

// clusterFlags mean nothing to a sidecar's loopback API.
var clusterFlags = []string{"policy", "reason", "name", "wait", "dry-run", "output", "kubeconfig", "context", "namespace", "request-timeout"}

func (o *revokeOptions) run(cmd *cobra.Command) error {
	now := time.Now()
	if o.output != "" && o.output != "yaml" {
		return fmt.Errorf("--output %q is not yaml", o.output)
	}
	if err := o.target.resolve(cmd.InOrStdin(), now); err != nil {
		return err
	}
	if o.server == "" {
		return o.runInCluster(cmd, now)
	}
	for _, name := range clusterFlags {
		if cmd.Flags().Changed(name) {
			return fmt.Errorf("--%s means nothing with --server: a sidecar knows of no TokenRevocations", name)
		}
	}
	return o.runAtServer(cmd)
}

// revocationsPath is the path of a sidecar's loopback API at which tokens are revoked.
const revocationsPath = "/v1/revocations"

func (o *revokeOptions) runAtServer(cmd *cobra.Command) error {
	api, err := newLoopbackAPI(o.server)
	if err != nil {
		return err
	}
	var done struct {
		Revoked *int `json:"revoked"`
	}
	if err := api.ask(cmd.Context(), http.MethodPost, revocationsPath, o.target.request(), &done); err != nil {
		return err
	}
	if done.Revoked == nil {
		return fmt.Errorf("what answers at %s is not a sidecar's loopback API", o.server)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "revoked: %d\n", *done.Revoked)
	return nil
}

func (o *revokeOptions) runInCluster(cmd *cobra.Command, now time.Time) error {
	if o.target.keyID != "" && !o.target.expires.IsZero() {
		return errors.New("--expires does not go with --key-id: a key stays refused until the TokenRevocation is deleted")
	}
	namespace, err := o.access.namespaceName()
	if err != nil {
		return err
	}
	object := o.object(namespace, now)
	if o.dryRun {
		return printYAML(cmd, object)
	}
	tell := cmd.OutOrStdout()
	if o.output == "yaml" {
		tell = cmd.ErrOrStderr()
	}
	waitErr := o.access.createAndWait(cmd.Context(), object, o.wait, printers{cmd.ErrOrStderr(), tell})
	if o.output == "yaml" && object.UID != "" {
		return errors.Join(waitErr, printYAML(cmd, object))
	}
	return waitErr
}

// printers take the API server's warnings, and what is done.
type printers struct{ warnings, tell io.Writer }

// object is the TokenRevocation. One that is printed, to be applied at some time, says before when tokens were issued: left
// out, that would be whenever it is created.
func (o *revokeOptions) object(namespace string, now time.Time) *v1alpha1.TokenRevocation {
	r := &v1alpha1.TokenRevocation{}
	r.Namespace, r.Name = namespace, o.name
	r.Spec = o.target.spec()
	r.Spec.PolicyName, r.Spec.Reason = o.policy, o.reason
	if r.Name == "" {
		r.Name = o.target.objectName()
	}
	if o.dryRun && r.Spec.Subject != "" && r.Spec.IssuedBefore == nil {
		r.Spec.IssuedBefore = timeOf(now.Truncate(time.Second).Add(time.Second))
	}
	return r
}

func printYAML(cmd *cobra.Command, r *v1alpha1.TokenRevocation) error {
	out := r.DeepCopy()
	out.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("TokenRevocation"))
	out.ManagedFields = nil
	b, err := yaml.Marshal(out)
	if err != nil {
		return fmt.Errorf("encoding token revocation: %w", err)
	}
	_, err = fmt.Fprint(cmd.OutOrStdout(), strings.TrimSuffix(string(b), "status: {}\n"))
	return err
}
