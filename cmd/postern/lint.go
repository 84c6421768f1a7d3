package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/manifest"
	"github.com/posterndev/postern/sidecar/chain"
)

// errNoObjects is returned for a file in which nothing was checked.
var errNoObjects = errors.New("no objects found: the file has no SecurityPolicy, SidecarClass or TokenRevocation of " + v1alpha1.GroupVersion.String())

func newLintCommand() *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use:   "lint -f policy.yaml [-f class.yaml …]",
		Short: "Check policies, and print each problem with file, line and field",
		Long: "Checks policies like the API server, with the schema and the CEL rules of this version's CRDs, and then like the\n" +
			"operator and the sidecar. It needs no cluster. Several files are read as one: a class in one applies to the policies in another.\n" +
			"What kubectl get -o yaml prints can be a file. A note on standard error says what was not checked, because a SidecarClass or a\n" +
			"Secret is not in the files. The exit code is 1 if a policy would be refused, or if a file has no object of Postern, because\n" +
			"then nothing was checked.",
		Args: onlyFiles,
		RunE: func(cmd *cobra.Command, _ []string) error { return lint(cmd, files) },
	}
	addFilesFlag(cmd, &files)
	return cmd
}

// lint prints the findings of each file, and its verdict if it has no errors. Errors about files are returned. For findings,
// which were printed, it returns errFindings.
func lint(cmd *cobra.Command, files []string) error {
	s, unread := readPolicies(cmd.Context(), files, cmd.InOrStdin())
	s.absent = compile.UnknownClass()
	incomplete := slices.ContainsFunc(s.findings, func(f manifest.Finding) bool { return !f.Warning })
	for i := range s.objects.Policies {
		p := &s.objects.Policies[i]
		document := s.compile(p)
		if document == nil {
			continue
		}
		if err := chain.Check(document); err != nil {
			s.find(p.Finding("spec", err.Error(), false))
		}
	}
	s.judgeClasses()
	s.judgeRevocations()
	s.judgeRepeated()
	var refused error
	for _, name := range s.files {
		switch err := s.lintFile(cmd.OutOrStdout(), name); {
		case errors.Is(err, errFindings):
			refused = err
		case err != nil:
			unread = errors.Join(unread, err)
		}
	}
	s.notChecked(cmd.ErrOrStderr())
	if incomplete {
		note(cmd.ErrOrStderr(), "more findings may follow: an object that the API server would refuse is not checked further. Correct its errors, and run the command again")
	}
	return cmp.Or(unread, refused)
}

// lintFile prints the findings of one file, in the order of its lines, and its verdict.
func (s *policySet) lintFile(w io.Writer, name string) error {
	var findings []manifest.Finding
	for _, f := range s.findings {
		if f.File == name {
			findings = append(findings, f)
		}
	}
	slices.SortStableFunc(findings, func(a, b manifest.Finding) int { return cmp.Compare(a.Line, b.Line) })
	if err := printFindings(w, findings); err != nil {
		return err
	}
	verdict := s.verdict(name)
	if verdict == "" {
		return fmt.Errorf("%s: %w", name, errNoObjects)
	}
	fmt.Fprintf(w, "%s: %s\n", name, verdict)
	return nil
}

// judgeClasses checks every section of the classes, whether or not a policy of the set uses it, as admission does.
func (s *policySet) judgeClasses() {
	for i := range s.objects.Classes {
		class := &s.objects.Classes[i].SidecarClass
		for _, found := range compile.Class(class) {
			found.Field = ofClass + found.Field
			s.find(s.place(&manifest.Policy{}, class, found))
		}
	}
}

// judgeRepeated warns about an object that is in the set twice: in a cluster only the last one would exist.
func (s *policySet) judgeRepeated() {
	seen := map[string]string{}
	check := func(name, file string, line int, warn func(field, message string) manifest.Finding) {
		if at, ok := seen[name]; ok {
			s.find(warn("metadata.name", "the same object is at "+at+": in a cluster, the one that is applied last replaces the other"))
		}
		seen[name] = fmt.Sprintf("%s:%d", file, line)
	}
	for i := range s.objects.Policies {
		p := &s.objects.Policies[i]
		check("SecurityPolicy "+fullName(namespaceOf(p), p.Name), p.File(), p.Line(),
			func(field, message string) manifest.Finding { return p.Finding(field, message, true) })
	}
	for i := range s.objects.Classes {
		c := &s.objects.Classes[i]
		check("SidecarClass "+c.Name, c.File(), c.Line(), func(field, message string) manifest.Finding { return c.Finding(field, message, true) })
	}
	for i := range s.objects.Revocations {
		r := &s.objects.Revocations[i]
		check("TokenRevocation "+fullName(namespaceOf(r), r.Name), r.File(), r.Line(), r.Warning)
	}
}

// verdict returns the last line about a file without errors. It is empty if nothing of the file was checked.
func (s *policySet) verdict(file string) string {
	policies := countIn(s.objects.Policies, func(p manifest.Policy) bool { return p.File() == file })
	classes := countIn(s.objects.Classes, func(c manifest.Class) bool { return c.File() == file })
	revocations := countIn(s.objects.Revocations, func(r manifest.Revocation) bool { return r.File() == file })
	read := enumerate(counted{policies, "policy", "policies"}, counted{classes, "class", "classes"}, counted{revocations, "revocation", "revocations"})
	switch {
	case policies+classes+revocations == 1:
		return read + " is valid"
	case read != "":
		return read + " are valid"
	}
	secrets := countIn(s.objects.Secrets, func(o manifest.Secret) bool { return o.File() == file })
	if secrets == 0 || len(s.objects.Policies) == 0 {
		return ""
	}
	return count(secrets, "Secret was", "Secrets were") + " checked: whether the policies' keys exist, and the certificates of tls; other values were not read"
}

func countIn[T any](list []T, is func(T) bool) int {
	n := 0
	for _, member := range list {
		if is(member) {
			n++
		}
	}
	return n
}
