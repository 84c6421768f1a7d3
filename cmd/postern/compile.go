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
		Long:  "Prints the document that a sidecar would run, with what TokenRevocations of the file revoke, as if they were created now.",
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
	cmd.Flags().StringVar(policy, "policy", "", "name of the policy, where the file has several")
	_ = cmd.MarkFlagRequired("filename")
}

// compileFile returns the document of the file's policy; what is wrong is printed to standard error.
func compileFile(cmd *cobra.Command, file, policy string) (*compiled.Policy, error) {
	f, err := readPolicies(cmd.Context(), file, cmd.InOrStdin())
	if err != nil {
		return nil, err
	}
	return f.document(policy, func() error { return f.report(cmd.ErrOrStderr()) })
}

// document returns the document of the file's one policy, or the one of that name. report tells what is wrong with the file,
// and returns an error where that keeps the policy from being run.
func (f *policyFile) document(policy string, report func() error) (*compiled.Policy, error) {
	p, err := f.only(policy)
	if err != nil {
		_ = report() // what keeps the policy from being valid is the better message
		return nil, err
	}
	document := f.compile(p)
	f.judgeRevocations()
	if err := report(); err != nil {
		return nil, err
	}
	return document, nil
}
