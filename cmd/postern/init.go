package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/boilerplate"
	"github.com/posterndev/postern/controllers/manifest"
)

// Names of the files that postern init writes.
const (
	classFile   = "sidecarclass.yaml"
	policyFile  = "securitypolicy.yaml"
	secretsFile = "secrets.sh"
)

// initFlags are the flags of postern init that are not options of the translation as they are.
type initFlags struct {
	boilerplate.Options
	output, until, encoding, secret string
	force                           bool
}

func newInitCommand() *cobra.Command {
	f := &initFlags{}
	cmd := &cobra.Command{
		Use:   "init --env-file .env --name shop",
		Short: "Write a policy for an app that has a login of its own, from its settings",
		Long: "Reads the settings of an app that issues its own tokens (a .env file, or the properties of Spring) and writes a SidecarClass, a\n" +
			"SecurityPolicy in Shadow mode, and a script that stores the secrets. The script has no secret: it reads them from the settings\n" +
			"and pipes them to kubectl or vault. Standard output says what was carried over, what was not and why, and what is left to do.\n" +
			"Nothing in the settings is executed. A file that exists with another content is overwritten only with --force.",
		Args: onlyFlags,
		RunE: func(cmd *cobra.Command, _ []string) error { return initialize(cmd, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.EnvFile, "env-file", ".env", "file with the settings")
	flags.StringVar(&f.Name, "name", "app", "name of the policy and the class, and the start of the names of the Secrets")
	flags.StringVar(&f.Namespace, "namespace", "", "namespace of the app (default: the name)")
	flags.StringVar(&f.Selector, "selector", "", "label of the app's pods (default: app=NAME)")
	flags.IntVar(&f.Port, "port", 0, "port of the app (default: PORT of the settings, or 8000)")
	flags.StringVar(&f.output, "output", ".", "folder for the files")
	flags.StringVar(&f.Issuer, "issuer", "", "https URL of the app, the issuer of new tokens")
	flags.StringVar(&f.Framework, "framework", "", "kind of the app: "+strings.Join(boilerplate.Frameworks(), ", ")+" (default: by the names of the settings)")
	flags.StringVar(&f.LoginPath, "login-path", "", "path of the login")
	flags.StringVar(&f.ResetPath, "reset-path", "", "path of the password reset")
	flags.StringVar(&f.Account, "account", "", "where the name of the account is in a login: json:email, form:username or header:X-User")
	flags.StringVar(&f.SubjectClaim, "subject-claim", "", "claim of the old tokens that identifies the user")
	flags.StringArrayVar(&f.RateLimits, "rate-limit", nil, "a rate limit, such as 'otp=POST /otp 5/minute' (repeatable)")
	flags.StringVar(&f.until, "until", "", "when the last old token is refused, such as 2027-03-01T00:00:00Z (default: that of the policy in --output, or the longest lifetime of the settings)")
	flags.StringVar(&f.encoding, "secret-encoding", "Text", "how the app reads the secret of the tokens: Text, or Base64 if it decodes it")
	flags.BoolVar(&f.AcceptWeak, "accept-weak-secret", false, "accept old tokens although their secret is short, or an example that everybody knows")
	flags.StringVar(&f.VaultPath, "vault-path", "", "path in Vault for the secrets, such as secret/shop (default: Secrets of Kubernetes)")
	flags.StringVar(&f.VaultAddress, "vault-address", "", "address of Vault")
	flags.StringVar(&f.secret, "print-secret", "", "write only this secret of the settings to standard output, for a pipe")
	flags.BoolVar(&f.force, "force", false, "overwrite files")
	return cmd
}

func initialize(cmd *cobra.Command, f *initFlags) error {
	settings, err := readSettings(cmd.InOrStdin(), f.EnvFile)
	if err != nil {
		return err
	}
	if err := f.complete(); err != nil {
		return err
	}
	if f.secret != "" {
		value, err := boilerplate.Secret(settings, f.Options, f.secret)
		if err != nil {
			return err
		}
		_, err = io.WriteString(cmd.OutOrStdout(), value)
		return err
	}
	result, err := boilerplate.Translate(settings, f.Options)
	if err != nil {
		return err
	}
	files := []generated{{classFile, result.Class}, {policyFile, result.Policy}, {secretsFile, result.Commands}}
	if err := writeGenerated(f.output, files, f.force); err != nil {
		return err
	}
	in := func(name string) string { return filepath.Join(f.output, name) }
	fmt.Fprintf(cmd.OutOrStdout(), "Wrote %s, %s and %s.\n\n%s\nNext:\n  sh -n %s && bash %s\n  postern lint -f %s -f %s\n  kubectl apply -f %s -f %s\n", in(classFile), in(policyFile), in(secretsFile),
		result.Report, in(secretsFile), in(secretsFile), in(classFile), in(policyFile), in(classFile), in(policyFile))
	return nil
}

// complete sets the time, and what depends on the policy of an earlier run: its end of the old tokens, so that a second run changes nothing.
func (f *initFlags) complete() error {
	switch f.encoding {
	case "Text":
	case "Base64":
		f.Base64 = true
	default:
		return fmt.Errorf("--secret-encoding %.64q is neither Text nor Base64", f.encoding)
	}
	f.Now = time.Now()
	if f.until == "" {
		f.Until = formerUntil(filepath.Join(f.output, policyFile), f.Now)
		return nil
	}
	until, err := time.Parse(time.RFC3339, f.until)
	if err != nil {
		return fmt.Errorf("--until %.64q is not a time: write one such as 2027-03-01T00:00:00Z", f.until)
	}
	if f.secret == "" && !until.After(f.Now) {
		return fmt.Errorf("--until %s is past: write a later time", f.until)
	}
	f.Until = until
	return nil
}

// formerUntil returns the end of the old tokens in a policy, or zero if there is none or it is past.
func formerUntil(path string, now time.Time) time.Time {
	content, err := readPrefix(path, manifest.MaxSize)
	if err != nil {
		return time.Time{}
	}
	var policy v1alpha1.SecurityPolicy
	if yaml.Unmarshal(content, &policy) != nil || policy.Spec.JWT == nil {
		return time.Time{}
	}
	for _, p := range policy.Spec.JWT.Providers {
		if p.Legacy != nil && p.Legacy.Until.After(now) {
			return p.Legacy.Until.Time
		}
	}
	return time.Time{}
}

func readSettings(stdin io.Reader, path string) (*boilerplate.Settings, error) {
	content, err := []byte(nil), error(nil)
	if path == "-" {
		content, err = io.ReadAll(io.LimitReader(stdin, boilerplate.MaxFile+1))
	} else {
		content, err = readPrefix(path, boilerplate.MaxFile)
	}
	if err != nil {
		return nil, err
	}
	settings, err := boilerplate.Read(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return settings, nil
}

// readPrefix reads a file of up to most bytes. What it returns of a longer one is longer than most.
func readPrefix(path string, most int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // it was only read
	return io.ReadAll(io.LimitReader(file, most+1))
}

// generated is a file to write.
type generated struct {
	name    string
	content []byte
}

// writeGenerated writes all files or, if one of them exists with another content, none.
func writeGenerated(folder string, files []generated, force bool) error {
	var changed []generated
	for _, file := range files {
		path := filepath.Join(folder, file.name)
		former, err := readPrefix(path, manifest.MaxSize)
		switch {
		case err == nil && bytes.Equal(former, file.content):
			continue
		case err == nil && !force:
			return fmt.Errorf("%s exists with another content: choose another --output, or overwrite it with --force", path)
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		}
		changed = append(changed, file)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, file := range changed {
		if err := os.WriteFile(filepath.Join(folder, file.name), file.content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
