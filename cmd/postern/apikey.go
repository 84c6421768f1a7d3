package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/posterndev/postern/sidecar/keys/apikey"
)

func newAPIKeyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "apikey", Short: "Create API keys, and check key files"}
	cmd.AddCommand(newNewAPIKeyCommand(), newHashAPIKeyCommand(), newCheckKeyFileCommand())
	return cmd
}

// apiKeyEntry is an entry of a key file, in the order in which it is written.
type apiKeyEntry struct {
	ID      string   `yaml:"id"`
	Hash    string   `yaml:"hash"`
	Subject string   `yaml:"subject"`
	Scopes  []string `yaml:"scopes,omitempty,flow"`
	Expires string   `yaml:"expires,omitempty"`
}

func newNewAPIKeyCommand() *cobra.Command {
	var e apiKeyEntry
	var expires, file string
	cmd := &cobra.Command{
		Use: "new --id ci --subject svc:ci", Short: "Create an API key", Args: onlyFlags,
		Long: "Prints a new key on standard output, once: it is stored nowhere. The entry for the key file, which has only the key's hash, is\n" +
			"printed on standard error, or appended to --file.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if expires != "" {
				end, err := expiryOf(expires, time.Now())
				if err != nil {
					return err
				}
				e.Expires = end
			}
			return newAPIKey(e, file, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&e.ID, "id", "", "name of the key in logs, metrics and revocations (required)")
	f.StringVar(&e.Subject, "subject", "", "who the key identifies, such as svc:ci (required)")
	f.StringArrayVar(&e.Scopes, "scope", nil, "a scope of the key; repeat it for several")
	f.StringVar(&expires, "expires", "", "lifetime such as 90d or 12h, or a time such as 2027-01-31T00:00:00Z (default: never)")
	f.StringVar(&file, "file", "", "append the entry to this key file, which is created if it does not exist")
	return cmd
}

// newAPIKey writes the entry before it prints the key, so that no key is printed that the file does not have.
func newAPIKey(e apiKeyEntry, file string, out, errOut io.Writer) error {
	key, err := apikey.New()
	if err != nil {
		return err
	}
	e.Hash = apikey.Hash(key)
	entry, err := yaml.Marshal([]apiKeyEntry{e})
	if err != nil {
		return fmt.Errorf("writing the entry: %w", err)
	}
	if _, err := apikey.Parse(entry); err != nil {
		return fmt.Errorf("checking the flags: %w", err)
	}
	if file == "" {
		fmt.Fprintf(errOut, "# The entry for the key file:\n%s", entry)
	} else if err := appendEntry(file, entry); err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, key)
	return err
}

// appendEntry appends an entry to a key file, and replaces the file in one step. A file that would not be valid stays as it is.
func appendEntry(file string, entry []byte) error {
	mode := os.FileMode(0o600)
	content, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("reading key file: %w", err)
	}
	if info, err := os.Stat(file); err == nil {
		mode = info.Mode().Perm()
	}
	if n := len(content); n > 0 && content[n-1] != '\n' {
		content = append(content, '\n')
	}
	content = append(content, entry...)
	if _, err := apikey.Parse(content); err != nil {
		return fmt.Errorf("appending to %s: %w (the file is unchanged; entries begin with a hyphen in the first column)", file, err)
	}
	next, err := os.CreateTemp(filepath.Dir(file), ".postern-*")
	if err != nil {
		return fmt.Errorf("writing key file: %w", err)
	}
	defer os.Remove(next.Name()) // fails after the rename
	_, err = next.Write(content)
	if err = errors.Join(err, next.Chmod(mode), next.Close()); err == nil {
		err = os.Rename(next.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("writing key file: %w", err)
	}
	return nil
}

// maxDays bounds a lifetime: a century.
const maxDays = 36500

// expiryOf returns the time after a lifetime, or a time as it is, in the form of the key file.
func expiryOf(text string, now time.Time) (string, error) {
	if end, err := time.Parse(time.RFC3339, text); err == nil {
		return end.UTC().Format(time.RFC3339), nil
	}
	lifetime, err := time.ParseDuration(text)
	if digits, ok := strings.CutSuffix(text, "d"); ok {
		var days int
		if days, err = strconv.Atoi(digits); err == nil && days <= maxDays {
			lifetime = time.Duration(days) * 24 * time.Hour
		}
	}
	if err != nil || lifetime <= 0 || lifetime > maxDays*24*time.Hour {
		return "", fmt.Errorf("--expires %q is not a lifetime or a time: write 90d, 12h or 2027-01-31T00:00:00Z", text)
	}
	return now.Add(lifetime).UTC().Truncate(time.Second).Format(time.RFC3339), nil
}

func newHashAPIKeyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "hash", Short: "Print the hash of a key that is read from standard input", Args: onlyFlags,
		Long: "Checks the form and the checksum of a key, and prints its hash as the key file has it, to find the entry of a leaked key.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			input, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), 1024))
			if err != nil {
				return fmt.Errorf("reading the key: %w", err)
			}
			key := strings.TrimSpace(string(input))
			if err := apikey.Check(key); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), apikey.Hash(key))
			return err
		},
	}
}

func newCheckKeyFileCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check FILE", Short: "Check a key file as the sidecar does", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			content, err := os.ReadFile(args[0])
			if err != nil {
				return fmt.Errorf("reading key file: %w", err)
			}
			file, err := apikey.Parse(content)
			if err != nil {
				return err
			}
			expired := 0
			for _, e := range file.Entries() {
				if e.Expired(time.Now()) {
					expired++
				}
			}
			noun := "keys"
			if file.Len() == 1 {
				noun = "key"
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d %s, %d expired\n", file.Len(), noun, expired)
			return err
		},
	}
}
