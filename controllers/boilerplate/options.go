package boilerplate

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/posterndev/postern/api/check"
)

var (
	label    = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`) })
	selector = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9./_-]{0,252})=([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)$`)
	})
	account = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(json|form|header):[A-Za-z0-9_.-]{1,128}$`) })
)

// complete sets the defaults, and refuses what no object may have.
func (o *Options) complete(s *Settings) error {
	if o.Name == "" {
		o.Name = "app"
	}
	if o.Namespace == "" {
		o.Namespace = o.Name
	}
	if o.Selector == "" {
		o.Selector = "app=" + o.Name
	}
	if o.EnvFile == "" {
		o.EnvFile = ".env"
	}
	f := frameworkOf(o.Framework, s)
	if o.LoginPath == "" {
		o.LoginPath = f.login
		if prefix, ok := s.first("API_V1_STR", "API_PREFIX"); f.name == "fastapi" && ok && strings.HasPrefix(prefix.Value, "/") {
			o.LoginPath = strings.TrimSuffix(prefix.Value, "/") + "/login/access-token"
		}
	}
	// A pattern without a slash at its end matches it as well.
	o.LoginPath, o.ResetPath = withoutSlash(o.LoginPath), withoutSlash(o.ResetPath)
	if o.Account == "" {
		o.Account = f.account
	}
	if o.SubjectClaim == "" {
		o.SubjectClaim = f.subjectClaim
		if claim, ok := s.first("JWT_SUBJECT_CLAIM", "SIMPLE_JWT_USER_ID_CLAIM", "JWT_USER_ID_CLAIM"); ok && claim.Value != "" {
			o.SubjectClaim = claim.Value
		}
	}
	return errors.Join(o.port(s), o.check())
}

// withoutSlash removes the slash at the end of a path, except of /.
func withoutSlash(path string) string {
	if len(path) > 1 {
		return strings.TrimSuffix(path, "/")
	}
	return path
}

func (o *Options) port(s *Settings) error {
	if o.Port != 0 {
		return nil
	}
	o.Port = 8000
	found, ok := s.first("PORT", "APP_PORT", "SERVER_PORT", "UVICORN_PORT", "BACKEND_PORT")
	if !ok || found.Unresolved != "" {
		return nil
	}
	n, err := strconv.ParseUint(found.Value, 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("%s is not a port from 1 to 65535: correct it, or write --port 8000", found.Name)
	}
	o.Port = int(n)
	return nil
}

func (o *Options) check() error {
	paths := []error{}
	for _, path := range []string{o.LoginPath, o.ResetPath} {
		if path == "" {
			continue
		}
		if _, err := check.ParsePattern(path); err != nil {
			paths = append(paths, fmt.Errorf("the path %.64q: %w", path, err))
		}
	}
	if err := errors.Join(paths...); err != nil {
		return err
	}
	switch {
	case !label().MatchString(o.Name) || len(o.Name) > 40:
		return fmt.Errorf("the name %.64q is not valid: write up to 40 lower-case letters, digits and hyphens, such as --name shop", o.Name)
	case !label().MatchString(o.Namespace):
		return fmt.Errorf("the namespace %.64q is not valid: write lower-case letters, digits and hyphens, such as --namespace shop", o.Namespace)
	case !selector().MatchString(o.Selector):
		return fmt.Errorf("the selector %.64q is not one label: write for example --selector app=shop", o.Selector)
	case o.Port < 1 || o.Port > 65535:
		return fmt.Errorf("the port %d is not from 1 to 65535: write for example --port 8000", o.Port)
	case o.Framework != "" && !slices.Contains(Frameworks(), o.Framework):
		return fmt.Errorf("the framework %.64q is not known: write one of %s", o.Framework, strings.Join(Frameworks(), ", "))
	case !account().MatchString(o.Account):
		return fmt.Errorf("the account %.64q is not valid: write where the name of the account is, such as --account json:email or form:username", o.Account)
	case check.Claim(o.SubjectClaim) != nil:
		return fmt.Errorf("the subject claim %.64q: %w", o.SubjectClaim, check.Claim(o.SubjectClaim))
	case !plain(o.EnvFile, 1024):
		return fmt.Errorf("the path %.64q of the settings is not printable ASCII: rename the file", o.EnvFile)
	case (o.VaultPath == "") != (o.VaultAddress == ""):
		return errors.New("secrets in Vault need --vault-path and --vault-address: write for example --vault-path secret/shop --vault-address https://vault.example.com:8200")
	case o.VaultPath != "" && check.VaultSecretPath(o.VaultPath) != nil:
		return fmt.Errorf("--vault-path: %w", check.VaultSecretPath(o.VaultPath))
	case o.VaultPath != "" && strings.Contains(o.VaultPath, " "):
		return errors.New("--vault-path has a space: choose a path without, such as secret/shop")
	case o.VaultAddress != "" && check.VaultAddress(o.VaultAddress) != nil:
		return fmt.Errorf("--vault-address: %w", check.VaultAddress(o.VaultAddress))
	case o.VaultPath != "" && o.Base64:
		return errors.New("a secret that the app decodes may have any bytes, and Vault's KV engine stores text only: leave out --vault-path, or --secret-encoding")
	case o.Until.IsZero() && o.Now.IsZero():
		return errors.New("there is no time")
	}
	return nil
}
