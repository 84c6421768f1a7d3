package main

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/sidecar/chain"
)

// errNoObjects is returned for a file in which nothing was checked.
var errNoObjects = errors.New("no objects found: the file has no SecurityPolicy, SidecarClass or TokenRevocation of " + v1alpha1.GroupVersion.String())

func newLintCommand() *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use:   "lint -f policy.yaml …",
		Short: "Check policies, and print each problem with file, line and field",
		Long: "Checks policies like the API server, with the schema and the CEL rules of this version's CRDs, and then like the\n" +
			"operator and the sidecar. It needs no cluster. The exit code is 1 if a policy would be refused, or if a file has no object\n" +
			"of Postern, because then nothing was checked.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// The command prints what it returns, except for findings, which are printed with their file.
			var refused, unread error
			for _, name := range files {
				switch err := lint(cmd, name); {
				case errors.Is(err, errFindings):
					refused = err
				case err != nil:
					unread = errors.Join(unread, err)
				}
			}
			return cmp.Or(unread, refused)
		},
	}
	cmd.Flags().StringArrayVarP(&files, "filename", "f", nil, "file with manifests, - for standard input; may be repeated")
	_ = cmd.MarkFlagRequired("filename")
	return cmd
}

func lint(cmd *cobra.Command, name string) error {
	f, err := readPolicies(cmd.Context(), name, cmd.InOrStdin())
	if err != nil {
		return err
	}
	f.absent = compile.UnknownClass()
	for i := range f.objects.Policies {
		p := &f.objects.Policies[i]
		document := f.compile(p)
		if document == nil {
			continue
		}
		if err := chain.Check(document); err != nil {
			f.findings = append(f.findings, p.Finding("spec", err.Error(), false))
		}
	}
	f.judgeRevocations()
	if err := f.report(cmd.OutOrStdout()); err != nil {
		return err
	}
	if len(f.objects.Policies)+len(f.objects.Classes)+len(f.objects.Revocations) == 0 {
		return fmt.Errorf("%s: %w", name, errNoObjects)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", name, f.verdict())
	return nil
}

// verdict returns the last line about a file without errors.
func (f *policyFile) verdict() string {
	policies, classes, revocations := len(f.objects.Policies), len(f.objects.Classes), len(f.objects.Revocations)
	read := enumerate(counted{policies, "policy", "policies"}, counted{classes, "class", "classes"}, counted{revocations, "revocation", "revocations"})
	if policies+classes+revocations == 1 {
		return read + " is valid"
	}
	return read + " are valid"
}
