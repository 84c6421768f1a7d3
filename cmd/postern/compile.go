package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/posterndev/postern/api/compiled"
)

func newCompileCommand() *cobra.Command {
	var files []string
	var policy string
	cmd := &cobra.Command{
		Use:   "compile -f policy.yaml [-f class.yaml …]",
		Short: "Print the document that a sidecar would run",
		Long: "Prints the document that a sidecar would run. It includes the TokenRevocations of the files, as if they were created now.\n" +
			"Several files are read as one. Without the policy's SidecarClass, the document is that of a class without fields.",
		Args: onlyFiles,
		RunE: func(cmd *cobra.Command, _ []string) error {
			document, err := compileFiles(cmd, files, policy)
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
	addPolicyFlags(cmd, &files, &policy)
	return cmd
}

// addFilesFlag adds the required flag -f.
func addFilesFlag(cmd *cobra.Command, files *[]string) {
	cmd.Flags().StringArrayVarP(files, "filename", "f", nil, "file with manifests, - for standard input; may be repeated, and the files are read as one")
	_ = cmd.MarkFlagRequired("filename")
}

func addPolicyFlags(cmd *cobra.Command, files *[]string, policy *string) {
	addFilesFlag(cmd, files)
	cmd.Flags().StringVar(policy, "policy", "", "name of the policy, if the files have several")
}

// compileFiles returns the document of the files' policy. It prints problems to standard error.
func compileFiles(cmd *cobra.Command, files []string, policy string) (*compiled.Policy, error) {
	s, err := readPolicies(cmd.Context(), files, cmd.InOrStdin())
	if err != nil {
		return nil, err
	}
	document, err := s.document(policy, func() error { return s.report(cmd.ErrOrStderr()) })
	s.noteClass(cmd.ErrOrStderr())
	return document, err
}

// noteClass prints the note of withoutClass, also if the policy is not valid: the missing class can be why.
func (s *policySet) noteClass(w io.Writer) {
	if note := s.withoutClass(); note != "" {
		fmt.Fprintln(w, escaped("note: "+note))
	}
}

// withoutClass says that the files have no SidecarClass for the compiled policy. It is empty if they have.
func (s *policySet) withoutClass() string {
	if len(s.unknown.classes) == 0 {
		return ""
	}
	return "the files do not have " + listed(s.unknown.classes, "the SidecarClass %q", "the default SidecarClass") +
		": compiled with a class without fields, so without redis, vault and trustedProxies; add the class with -f"
}

// document returns the document of the set's only policy, or of the named one. report prints the problems of the files, and
// returns an error if the policy cannot run.
func (s *policySet) document(policy string, report func() error) (*compiled.Policy, error) {
	p, err := s.only(policy)
	if err != nil {
		_ = report() // why the policy is not valid is the more useful message
		return nil, err
	}
	document := s.compile(p)
	s.judgeRevocations()
	if err := report(); err != nil {
		return nil, err
	}
	return document, nil
}
