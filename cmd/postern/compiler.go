package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/controllers/manifest"
)

// compilerCommand is the hidden command with which postern run compiles files in a process of its own. The schemas of the CRDs and their CEL rules
// need tens of MiB, and Go keeps much of it after they are freed. That process ends; the one that serves never had them.
const compilerCommand = "compile-for-run"

// compilation is what the compiler reads from its standard input.
type compilation struct {
	Files   []string
	Content [][]byte
	Policy  string
	// Created is policySet.created.
	Created map[string]time.Time
}

// compilationResult is what the compiler writes to its standard output.
type compilationResult struct {
	// Document is the encoded document; nil if the policy cannot run: then Failure says why, or a finding does.
	Document []byte `json:",omitempty"`
	Failure  string `json:",omitempty"`
	Findings []manifest.Finding
	Created  map[string]time.Time
	// Classless is policyWatch.classless.
	Classless string
}

func newCompilerCommand() *cobra.Command {
	return &cobra.Command{
		Use: compilerCommand, Hidden: true, Args: cobra.NoArgs, Short: "Compile for postern run, from standard input to standard output",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var c compilation
			if err := json.NewDecoder(cmd.InOrStdin()).Decode(&c); err != nil {
				return fmt.Errorf("reading what to compile: %w", err)
			}
			if len(c.Files) != len(c.Content) {
				return errors.New("reading what to compile: each file needs a content")
			}
			return json.NewEncoder(cmd.OutOrStdout()).Encode(c.run(cmd.Context()))
		},
	}
}

// run compiles the files in this process.
func (c compilation) run(ctx context.Context) compilationResult {
	s := newPolicySet()
	for i, name := range c.Files {
		if err := s.add(ctx, name, c.Content[i]); err != nil {
			return compilationResult{Failure: err.Error()}
		}
	}
	s.created = c.Created
	document, err := s.document(c.Policy, func() error { return printFindings(io.Discard, s.findings) })
	result := compilationResult{Findings: s.findings, Created: s.creations()}
	if err == nil {
		result.Document, err = compiled.Encode(document)
	}
	if err != nil && !errors.Is(err, errFindings) {
		result.Failure = err.Error()
	}
	if len(s.unknown.classes) > 0 {
		result.Classless = s.unknown.classes[0].name
	}
	return result
}

// errCompiler is why there is no result: the process could not start, or has not ended by itself. It may do so another time.
var errCompiler = errors.New("running the compiler")

// runApart compiles the files in another process of this program.
func (c compilation) runApart(ctx context.Context) (result compilationResult, err error) {
	program, err := ownProgram()
	if err != nil {
		return result, fmt.Errorf("%w: %w", errCompiler, err)
	}
	input, err := json.Marshal(c)
	if err != nil {
		return result, err
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, compilerCommand)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return result, fmt.Errorf("%w: %w: %s", errCompiler, err, strings.TrimSpace(stderr.String()))
	}
	if err := json.Unmarshal(stdout.Bytes(), &result); err != nil {
		return result, fmt.Errorf("reading the compiler's result: %w", err)
	}
	return result, nil
}

// ownProgram returns the path of the running program. On Linux it is that very program, even if the file was replaced or deleted: proc_pid_exe(5).
func ownProgram() (string, error) {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe", nil
	}
	return os.Executable()
}
