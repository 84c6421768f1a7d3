package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/sidecar/chain"
)

func newLintCommand() *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use:   "lint -f policy.yaml …",
		Short: "Check policies, and print each problem with file, line and field",
		Long: "Checks policies like the API server, with the schema and the CEL rules of this version's CRDs, and then like the\n" +
			"operator and the sidecar. It needs no cluster. The exit code is 1 if a policy would be refused.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			failed := error(nil)
			for _, name := range files {
				if err := lint(cmd, name); err != nil {
					failed = err
				}
			}
			return failed
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
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", name, f.verdict())
	return nil
}

// verdict returns the last line about a file without errors.
func (f *policyFile) verdict() string {
	policies, classes, revocations := len(f.objects.Policies), len(f.objects.Classes), len(f.objects.Revocations)
	read := enumerate(counted{policies, "policy", "policies"}, counted{classes, "class", "classes"}, counted{revocations, "revocation", "revocations"})
	switch policies + classes + revocations {
	case 0:
		return "the file has no policy, class or revocation"
	case 1:
		return read + " is valid"
	}
	return read + " are valid"
}
