package main

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/posterndev/postern/sidecar/audit/hashchain"
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
			"Records after the last checkpoint of a writer are counted: nobody could tell if the last of them were missing.",
		Example: "  postern audit verify --public-key postern.dev/audit+1a2b3c4d+AZ...\n  kubectl logs -n shop deploy/orders -c postern | postern audit verify -f - --public-key ...",
		RunE:    v.run,
	}
	v.source.addFlags(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&v.publicKeys, "public-key", nil, "a `KEY` of checkpoints, as postern audit public-key prints it; may be repeated after a change of the key")
	f.StringVar(&v.keyFile, "key-file", "", "the file of the master key, from which the key of checkpoints is derived")
	f.StringVarP(&v.output, "output", "o", "text", "text or json")
	return cmd
}

type auditVerification struct {
	source          auditSource
	publicKeys      []string
	keyFile, output string
}

func (v *auditVerification) run(cmd *cobra.Command, _ []string) error {
	if v.output != "text" && v.output != "json" {
		return fmt.Errorf("--output is %q: write text or json", v.output)
	}
	keys, err := v.allPublicKeys()
	if err != nil {
		return err
	}
	config := verify.Config{}
	if len(keys) > 0 {
		if config.Keys, err = hashchain.Verifiers(keys...); err != nil {
			return fmt.Errorf("--public-key: %w; write what `postern audit public-key` prints", err)
		}
	}
	out := cmd.OutOrStdout()
	config.OnFinding = func(f verify.Finding) {
		if v.output == "json" {
			_ = json.NewEncoder(out).Encode(f)
		} else {
			fmt.Fprintln(out, f)
		}
	}
	verifier := verify.New(config)
	bar := newProgress(cmd.ErrOrStderr(), "records")
	err = v.source.each(cmd, nil, 0, func(r rows.Row) error {
		bar.add(1)
		if r.Kind == spool.Checkpoint {
			verifier.Checkpoint(r.Payload)
			return nil
		}
		if r.Altered != "" {
			verifier.Altered(r.Writer, r.Seq, r.Altered)
		}
		verifier.Record(r.Payload, r.Hash)
		return nil
	})
	bar.end()
	if err != nil {
		return err
	}
	return v.conclude(cmd, verifier.Finish(), len(keys) > 0)
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
		if err := json.NewEncoder(out).Encode(map[string]verify.Summary{"summary": s}); err != nil {
			return err
		}
	case s.Records == 0 && s.Checkpoints == 0:
		return errors.New("the trail is empty: there is nothing to verify")
	default:
		fmt.Fprintf(out, "%d records of %d writers from %s to %s, %d checkpoints: %s\n", s.Records, s.Writers, s.From.Format(time.RFC3339), s.To.Format(time.RFC3339), s.Checkpoints, faults(s.Findings))
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
