package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/posterndev/postern/api/compiled"
)

func newCompileCommand() *cobra.Command {
	var file, policy string
	cmd := &cobra.Command{
		Use:   "compile -f policy.yaml",
		Short: "Print the document that a sidecar would run",
		Long:  "Prints the document that a sidecar would run. It includes the TokenRevocations of the file, as if they were created now.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			document, err := compileFile(cmd, file, policy)
			if err != nil {
				return err
			}
			b, err := compiled.Encode(document)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), string(b))
			return nil
		},
	}
	addPolicyFlags(cmd, &file, &policy)
	return cmd
}

func addPolicyFlags(cmd *cobra.Command, file, policy *string) {
	cmd.Flags().StringVarP(file, "filename", "f", "", "file with manifests, - for standard input")
	cmd.Flags().StringVar(policy, "policy", "", "name of the policy, if the file has several")
	_ = cmd.MarkFlagRequired("filename")
}

// compileFile returns the document of the file's policy. It prints problems to standard error.
func compileFile(cmd *cobra.Command, file, policy string) (*compiled.Policy, error) {
	f, err := readPolicies(cmd.Context(), file, cmd.InOrStdin())
	if err != nil {
		return nil, err
	}
	return f.document(policy, func() error { return f.report(cmd.ErrOrStderr()) })
}

// document returns the document of the file's only policy, or of the named one. report prints the problems of the file, and
// returns an error if the policy cannot run.
func (f *policyFile) document(policy string, report func() error) (*compiled.Policy, error) {
	p, err := f.only(policy)
	if err != nil {
		_ = report() // why the policy is not valid is the more useful message
		return nil, err
	}
	document := f.compile(p)
	f.judgeRevocations()
	if err := report(); err != nil {
		return nil, err
	}
	return document, nil
}
