package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/posterndev/postern/cmd/postern/internal/screen"
	"github.com/posterndev/postern/sidecar/audit/hashchain"
	"github.com/posterndev/postern/sidecar/audit/logsink"
	"github.com/posterndev/postern/sidecar/audit/personal"
	"github.com/posterndev/postern/sidecar/audit/rows"
	"github.com/posterndev/postern/sidecar/audit/spool"
	"github.com/posterndev/postern/sidecar/audit/verify"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

// newAuditVerifyCommand returns the command that checks an audit trail.
func newAuditVerifyCommand() *cobra.Command {
	v := &auditVerification{}
	cmd := &cobra.Command{
		Use: "verify [-f trail.jsonl] --public-key KEY", Short: "Find records of the audit trail that were changed, removed or moved", Args: onlyFlags,
		Long: "Checks that each record is what its writer wrote, that none is missing or out of order, and that the records have the roots that\n" +
			"the signed checkpoints state. It prints one line for each fault, and exits with 1 if there is one.\n\n" + auditSourceHelp + "\n\n" +
			"Records after the last checkpoint of a writer are counted: nobody could tell if the last of them were missing. Somebody who can write to\n" +
			"the trail could also delete a writer as a whole, or its last records with their checkpoints. To find this, keep checkpoints elsewhere,\n" +
			"such as in the logs of sidecars (the sink Log), and give them with --checkpoints.",
		Example: "  postern audit verify --public-key postern.dev/audit+1a2b3c4d+AZ...\n  kubectl logs -n shop deploy/orders -c postern | postern audit verify -f - --public-key ...",
		RunE:    v.run,
	}
	v.source.addFlags(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&v.publicKeys, "public-key", nil, "a `KEY` of checkpoints, as postern audit public-key prints it; may be repeated after a change of the key")
	f.StringVar(&v.keyFile, "key-file", "", "the file of the master key, from which the key of checkpoints is derived")
	f.StringArrayVar(&v.witnesses, "checkpoints", nil, "lines of JSON with checkpoints that were kept elsewhere, such as the logs of sidecars; may be repeated")
	f.BoolVar(&v.partial, "partial", false, "the trail begins in the middle, as a log that was rotated: records before the first one of each writer are not missing")
	f.StringVarP(&v.output, "output", "o", "text", "text or json")
	return cmd
}

type auditVerification struct {
	source                auditSource
	publicKeys, witnesses []string
	keyFile, output       string
	partial               bool
}

func (v *auditVerification) run(cmd *cobra.Command, _ []string) error {
	if v.output != "text" && v.output != "json" {
		return fmt.Errorf("--output is %q: write text or json", v.output)
	}
	keys, err := v.allPublicKeys()
	if err != nil {
		return err
	}
	config := verify.Config{Partial: v.partial}
	if len(keys) > 0 {
		if config.Keys, err = hashchain.Verifiers(keys...); err != nil {
			return fmt.Errorf("--public-key: %w; write what `postern audit public-key` prints", err)
		}
	}
	out := cmd.OutOrStdout()
	config.OnFinding = func(f verify.Finding) {
		if v.output == "json" {
			_ = writeJSON(out, f, "")
		} else {
			fmt.Fprintln(out, screen.Escape(f.String())) // it quotes what is in the trail
		}
	}
	verifier := verify.New(config)
	if err := v.readWitness(cmd, verifier); err != nil {
		return err
	}
	v.source.bar = newProgress(cmd.ErrOrStderr(), "records")
	last := uuid.Nil // of a database, which is read writer by writer
	err = v.source.each(cmd, nil, 0, func(r rows.Row) error {
		v.source.bar.add(1)
		if last != r.Writer {
			verifier.Done(last)
			last = r.Writer
		}
		r.Verify(verifier)
		return nil
	})
	v.source.bar.end()
	if err != nil {
		return err
	}
	return v.conclude(cmd, verifier.Finish(), len(keys) > 0)
}

// readWitness reads the checkpoints that were kept elsewhere.
func (v *auditVerification) readWitness(cmd *cobra.Command, verifier *verify.Verifier) error {
	for _, name := range v.witnesses {
		in, end, err := openLines(cmd, name)
		if err != nil {
			return err
		}
		_, err = logsink.Read(in, func(e logsink.Entry) error {
			if e.Kind == spool.Checkpoint {
				verifier.Witness(e.Payload)
			}
			return nil
		})
		end()
		if err != nil {
			return err
		}
	}
	return nil
}

// allPublicKeys returns the keys that sign checkpoints.
func (v *auditVerification) allPublicKeys() ([]string, error) {
	if v.keyFile == "" {
		return v.publicKeys, nil
	}
	keys, err := readMasterKey(v.keyFile)
	if err != nil {
		return nil, err
	}
	return append(v.publicKeys, verifierKey(keys)), nil
}

func readMasterKey(name string) (*personal.Keys, error) {
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading the master key: %w", err)
	}
	return personal.Derive(secret.New(content))
}

func verifierKey(keys *personal.Keys) string {
	public, _ := keys.Signing().Public().(ed25519.PublicKey)
	return hashchain.VerifierKey(public)
}

// conclude prints the summary.
func (v *auditVerification) conclude(cmd *cobra.Command, s verify.Summary, signed bool) error {
	out := cmd.OutOrStdout()
	switch {
	case v.output == "json":
		if err := writeJSON(out, map[string]verify.Summary{"summary": s}, ""); err != nil {
			return err
		}
	case s.Records == 0 && s.Checkpoints == 0 && s.Removed == 0 && s.Findings == 0:
		return errors.New("the trail is empty: there is nothing to verify")
	default:
		fmt.Fprintf(out, "%d records of %d writers from %s to %s, %d checkpoints: %s\n", s.Records, s.Writers, s.From.Format(time.RFC3339), s.To.Format(time.RFC3339), s.Checkpoints, faults(s.Findings))
		if s.Removed > 0 {
			fmt.Fprintf(out, "%d records were removed because their retention has passed\n", s.Removed)
		}
		if s.Before > 0 {
			fmt.Fprintf(out, "%d records before the first ones were not checked\n", s.Before)
		}
		if s.Unsigned > 0 {
			fmt.Fprintf(out, "%d records are after the last checkpoint of their writer\n", s.Unsigned)
		}
		if !signed {
			fmt.Fprintln(out, "the signatures were not checked, so a trail that was rewritten as a whole looks intact: give --public-key or --key-file")
		}
	}
	if s.Findings > 0 {
		return errFindings
	}
	return nil
}

func faults(n uint64) string {
	switch n {
	case 0:
		return "no fault found"
	case 1:
		return "1 fault"
	}
	return fmt.Sprintf("%d faults", n)
}
