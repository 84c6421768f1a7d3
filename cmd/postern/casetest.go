package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/simulation"
	"github.com/posterndev/postern/sidecar/simulation/cases"
)

// errCasesFailed means that the failures were printed.
var errCasesFailed = fmt.Errorf("%w: a case failed", errFindings)

func newTestCommand() *cobra.Command {
	var files []string
	var output string
	var with simulation.Config
	cmd := &cobra.Command{
		Use:   "test -f policy.yaml -f cases.yaml [-f …]",
		Short: "Test policies with requests and expected responses, for CI",
		Long: "Sends the requests of case files through the request path of the sidecar, and compares the responses. It needs no cluster and no\n" +
			"network: state is in memory, the app is part of the process, and tokens are signed by a key that is made for the run. A file with a\n" +
			"list cases is a case file; any other has manifests. The exit code is 1 if a case fails or cannot be run.\n" +
			"docs/testing-policies.md describes the format.",
		Args: onlyFiles,
		RunE: func(cmd *cobra.Command, _ []string) error { return testPolicies(cmd, files, output, with) },
	}
	addFilesFlag(cmd, &files)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text, junit, or junit=FILE, which prints text too")
	cmd.Flags().StringVar(&with.SecretsDir, "secrets-dir", "secrets", "folder with Secrets, as <name>/<key>, for API keys and users that a policy has there")
	cmd.Flags().StringVar(&with.VolumesDir, "volumes-dir", "volumes", "folder with the content of PersistentVolumeClaims, as <name>/<path>")
	return cmd
}

// outcome is the result of one case.
type outcome struct {
	file string
	// secrets is the folder with Secrets.
	secrets string
	test    *cases.Case
	failure *cases.Failure
	err     error
	took    time.Duration
}

func (o *outcome) failed() bool { return o.failure != nil || o.err != nil }

func testPolicies(cmd *cobra.Command, files []string, output string, with simulation.Config) error {
	format, report, _ := strings.Cut(output, "=")
	if format != "text" && format != "junit" || format == "text" && output != "text" || format == "junit" && strings.Contains(output, "=") && report == "" {
		return fmt.Errorf("--output %q is not text, junit or junit=FILE", output)
	}
	policies, caseFiles, err := readTests(cmd, files)
	if err != nil {
		return err
	}
	with.Keys = simulation.NewKeys()
	outcomes, err := runCases(cmd, policies, caseFiles, with)
	if err != nil {
		return err
	}
	if output != "junit" {
		printOutcomes(cmd.OutOrStdout(), outcomes)
	}
	if format == "junit" {
		if err := writeReport(cmd.OutOrStdout(), report, outcomes); err != nil {
			return err
		}
	}
	for i := range outcomes {
		if outcomes[i].failed() {
			return errCasesFailed
		}
	}
	return nil
}

// caseFile is a file of cases with its name.
type caseFile struct {
	name string
	*cases.File
}

// readTests reads the policies and the cases of the files.
func readTests(cmd *cobra.Command, files []string) (*policySet, []caseFile, error) {
	s := newPolicySet()
	var found []caseFile
	var failed error
	for _, name := range unique(files) {
		content, err := readFile(name, cmd.InOrStdin())
		if err == nil && cases.Is(content) {
			var f *cases.File
			if f, err = cases.Parse(content); err != nil {
				err = fmt.Errorf("%s: %w", name, err)
			}
			found = append(found, caseFile{name, f})
		} else if err == nil {
			err = s.add(cmd.Context(), name, content)
		}
		failed = errors.Join(failed, err)
	}
	if failed == nil && len(found) == 0 {
		failed = errors.New("no file has cases: add one with -f cases.yaml")
	}
	return s, found, failed
}

// runCases runs all cases. Each policy is compiled once.
func runCases(cmd *cobra.Command, s *policySet, files []caseFile, with simulation.Config) ([]outcome, error) {
	documents := map[string]*compiled.Policy{}
	document := func(name string) (*compiled.Policy, error) {
		if documents[name] != nil {
			return documents[name], nil
		}
		p, err := s.only(name)
		if err != nil {
			return nil, err
		}
		documents[name] = s.compile(p)
		if documents[name] == nil {
			_ = s.report(cmd.ErrOrStderr())
			s.noteClass(cmd.ErrOrStderr())
			return nil, fmt.Errorf("the policy %q is not valid", p.Name)
		}
		return documents[name], nil
	}
	var outcomes []outcome
	for _, f := range files {
		if with.Start = f.At.Time; with.Start.IsZero() {
			with.Start = time.Now()
		}
		for i := range f.Cases {
			c := &f.Cases[i]
			p, err := document(cmp.Or(c.Policy, f.Policy))
			if err != nil {
				return nil, fmt.Errorf("%s:%d: case %q: %w", f.name, c.Line, c.Name, err)
			}
			began := time.Now()
			o := outcome{file: f.name, secrets: with.SecretsDir, test: c}
			o.failure, o.err = cases.Run(cmd.Context(), p, with, c)
			o.took = time.Since(began)
			outcomes = append(outcomes, o)
		}
	}
	return outcomes, s.report(cmd.ErrOrStderr())
}

func printOutcomes(w io.Writer, outcomes []outcome) {
	failed := 0
	for i := range outcomes {
		o := &outcomes[i]
		if o.failed() {
			failed++
		}
		for _, line := range o.lines() {
			fmt.Fprintln(w, escaped(line))
		}
	}
	fmt.Fprintf(w, "%s, %d failed\n", count(len(outcomes), "case", "cases"), failed)
}

// lines are the text about one case.
func (o *outcome) lines() []string {
	switch {
	case o.err != nil:
		return []string{fmt.Sprintf("FAIL %s:%d: %s", o.file, o.test.Line, o.test.Name), "  cannot be run: " + o.err.Error()}
	case o.failure == nil:
		return []string{fmt.Sprintf("ok   %s:%d: %s", o.file, o.test.Line, o.test.Name)}
	}
	lines := []string{fmt.Sprintf("FAIL %s:%d: %s", o.file, o.failure.Line, o.test.Name)}
	if len(o.test.Steps) > 1 || o.test.Steps[0].Repeat > 1 {
		lines = append(lines, fmt.Sprintf("  step %d, request %d", o.failure.Step, o.failure.Request))
	}
	for _, d := range o.failure.Differences {
		lines = append(lines, "  "+d)
	}
	lines = append(lines, "  decided by "+decidedBy(o.failure.Decided))
	for _, file := range o.failure.Missing {
		lines = append(lines, "  "+missingFile(o.secrets, file))
	}
	return lines
}

// decidedBy says what decided about a request.
func decidedBy(v simulation.Verdict) string {
	if v.Stage == "" {
		return "no rule"
	}
	text := "the stage " + v.Stage
	if v.Rule != "" {
		text += fmt.Sprintf(", rule %q", v.Rule)
	}
	if v.Code != "" {
		text += fmt.Sprintf(": %d %s", v.Status, v.Code)
	}
	return text
}

// writeReport writes JUnit's XML to the file, or to w without a file.
func writeReport(w io.Writer, file string, outcomes []outcome) error {
	b, err := junit(outcomes)
	if err != nil {
		return fmt.Errorf("encoding report: %w", err)
	}
	if file == "" {
		_, err = w.Write(b)
		return err
	}
	return os.WriteFile(file, b, 0o644)
}
