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
	server, as           string
	access               access
	wait                 time.Duration
	dryRun               bool
	output               string
}

func newRevokeCommand() *cobra.Command {
	o := &revokeOptions{}
	cmd := &cobra.Command{
		Use:   "revoke --subject user-42 -n shop",
		Short: "Revoke tokens before they expire, and wait until every sidecar refuses them",
		Long: "Creates a TokenRevocation, waits until the operator reports that every sidecar enforces it, and prints how long that\n" +
			"took. Set exactly one of --subject, --session-id, --token-id, --key-id, --token and --token-file.\n\n" +
			"With --server it calls a sidecar's loopback API instead, for example that of postern run.\n\n" +
			"It exits with 1 if the revocation is not enforced in time. The object that it created is kept.",
		Example: "  postern revoke --subject user-42 -n shop --reason 'laptop stolen'\n" +
			"  postern revoke --token - -n shop < token.jwt\n" +
			"  postern revoke --subject user-42 -n shop --dry-run > revocation.yaml\n" +
			"  postern revoke --subject user-42 --server http://127.0.0.1:15992",
		Args: onlyFlags,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	o.target.addFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.policy, "policy", "", "the SecurityPolicy that it applies to (default: every policy of the namespace)")
	f.StringVar(&o.reason, "reason", "", "the reason, as text")
	f.StringVar(&o.name, "name", "", "the object's name (default: a generated name)")
	f.DurationVar(&o.wait, "wait", 30*time.Second, "how long to wait until it is enforced; 0 disables waiting")
	f.BoolVar(&o.dryRun, "dry-run", false, "print the object as YAML, and do not create it")
	f.StringVarP(&o.output, "output", "o", "", "yaml: print the object with its last status")
	f.StringVar(&o.server, "server", "", "URL of a sidecar's loopback API, as http://127.0.0.1:15992, to use in place of a cluster")
	f.StringVar(&o.as, "as", "", "who acts, for the audit trail; with --server only")
	o.access.addFlags(cmd)
	return cmd
}

// clusterFlags are the flags that a sidecar's loopback API does not support.
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
		if o.as != "" {
			return errors.New("--as can be used with --server only: in a cluster, the API server's own audit log says who creates a TokenRevocation")
		}
		return o.runInCluster(cmd, now)
	}
	for _, name := range clusterFlags {
		if cmd.Flags().Changed(name) {
			return fmt.Errorf("--%s cannot be used with --server: it applies only to TokenRevocations in a cluster", name)
		}
	}
	return o.runAtServer(cmd)
}

// revocationsPath is the path of a sidecar's loopback API that revokes tokens.
const revocationsPath = "/v1/revocations"

func (o *revokeOptions) runAtServer(cmd *cobra.Command) error {
	api, err := newLoopbackAPI(o.server)
	if err != nil {
		return err
	}
	api.performedBy = o.as
	var done struct {
		Revoked *int `json:"revoked"`
	}
	if err := api.call(cmd.Context(), http.MethodPost, revocationsPath, o.target.request(), &done); err != nil {
		return err
	}
	if done.Revoked == nil {
		return fmt.Errorf("the server at %s is not a sidecar's loopback API", o.server)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "revoked: %d\n", *done.Revoked)
	return nil
}

func (o *revokeOptions) runInCluster(cmd *cobra.Command, now time.Time) error {
	if o.target.keyID != "" && !o.target.expires.IsZero() {
		return errors.New("--expires cannot be used with --key-id: a key stays revoked until the TokenRevocation is deleted")
	}
	namespace, err := o.access.namespaceName()
	if err != nil {
		return err
	}
	object := o.object(namespace, now)
	if o.dryRun {
		return printYAML(cmd, object)
	}
	progress := cmd.OutOrStdout()
	if o.output == "yaml" {
		progress = cmd.ErrOrStderr()
	}
	waitErr := o.access.createAndWait(cmd.Context(), object, o.wait, printers{cmd.ErrOrStderr(), progress})
	if o.output == "yaml" && object.UID != "" {
		return errors.Join(waitErr, printYAML(cmd, object))
	}
	return waitErr
}

// printers are the writers for warnings of the API server, and for progress messages.
type printers struct{ warnings, progress io.Writer }

// object returns the TokenRevocation. With --dry-run issuedBefore is set, because the printed object may be applied later, and the
// default is the time of its creation.
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
