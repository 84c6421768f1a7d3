// Package boilerplate translates the settings of an app's own login code, such as a .env file of FastAPI, Express, Django or Spring, into
// a SidecarClass, a SecurityPolicy and commands that store the secrets. It is pure: it reads no file and no environment, and nothing that
// it returns has the value of a secret, except Secret.
package boilerplate

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Options are what the settings do not say.
type Options struct {
	// Name of the policy and the class, and the start of the names of the Secrets. Namespace is that of the app.
	Name, Namespace string
	// Selector is a label of the app's pods, key=value.
	Selector string
	// Port of the app; 0 for that of the settings, or 8000.
	Port int
	// EnvFile is the path of the settings in the commands.
	EnvFile string
	// Issuer of new tokens, an https URL.
	Issuer string
	// Framework is one of Frameworks, or "" to find it out.
	Framework string
	// LoginPath and ResetPath are the routes of the login and of the password reset. Account is where the account's name is: json:email.
	LoginPath, ResetPath, Account string
	// SubjectClaim is the claim of the old tokens that identifies the user.
	SubjectClaim string
	// RateLimits are further limits, such as "otp=POST /otp 5/minute".
	RateLimits []string
	// Until is when the last old token is refused; zero for Now and the longest lifetime of the settings.
	Until, Now time.Time
	// AcceptWeak accepts a secret that is short or looks like an example. Base64 says that the app decodes the secret.
	AcceptWeak, Base64 bool
	// VaultPath is the path in Vault below which the secrets are stored, such as secret/shop; empty for Secrets of Kubernetes.
	VaultPath, VaultAddress string
}

// A Result is what Translate returns. All of it is the same for the same settings and options.
type Result struct {
	Class, Policy, Commands []byte
	Report                  string
	// Until is the end of the old tokens, zero if none are accepted.
	Until time.Time
}

// translation collects the result.
type translation struct {
	Options
	settings  *Settings
	framework framework
	redis     *Redis
	legacy    *legacy
	tokens    tokens
	cors      *cors
	limits    []limit
	logLevel  string
	proxies   []string
	secrets   []secret
	// carried, dropped and todo are the lines of the report.
	carried, dropped, todo []string
}

// A secret is a value of the settings, and where it belongs.
type secret struct {
	id, variable, value string
	// unknown is why the settings have a name for the value, and not the value, or "".
	unknown string
	// object is the last part of the name of the Secret, or of the path in Vault; key is the key in it.
	object, key string
}

// Translate returns the objects, the commands and the report.
func Translate(s *Settings, o Options) (*Result, error) {
	t, err := translate(s, o)
	if err != nil {
		return nil, err
	}
	result := &Result{Class: t.renderClass(), Policy: t.renderPolicy(), Commands: t.renderCommands(), Report: t.report()}
	if t.legacy != nil {
		result.Until = t.legacy.until
	}
	// No value of a secret may be in a file, wherever a setting has put it. Short ones are in many words.
	for _, secret := range t.secrets {
		for _, output := range [][]byte{result.Class, result.Policy, result.Commands, []byte(result.Report)} {
			if len(secret.value) >= 16 && bytes.Contains(output, []byte(secret.value)) {
				return nil, fmt.Errorf("the value of %s is part of another setting that would be written to a file: change one of them", secret.variable)
			}
		}
	}
	return result, nil
}

// Secret returns the value of one of the secrets of the settings, by the name that the commands use.
func Secret(s *Settings, o Options, id string) (string, error) {
	t, err := translate(s, o)
	if err != nil {
		return "", err
	}
	var ids []string
	for _, secret := range t.secrets {
		if secret.id == id && secret.unknown != "" {
			return "", fmt.Errorf("the value of %s is not known: %s", secret.variable, secret.unknown)
		}
		if secret.id == id {
			return secret.value, nil
		}
		ids = append(ids, secret.id)
	}
	return "", fmt.Errorf("the settings have no secret %.64q; they have: %s", id, strings.Join(ids, ", "))
}

func translate(s *Settings, o Options) (*translation, error) {
	if err := o.complete(s); err != nil {
		return nil, err
	}
	clear(s.used)
	t := &translation{Options: o, settings: s, framework: frameworkOf(o.Framework, s)}
	t.routes()
	if err := t.readTokens(); err != nil {
		return nil, err
	}
	t.readLegacy()
	t.readRedis()
	t.readCORS()
	if err := t.readLimits(); err != nil {
		return nil, err
	}
	t.readRest()
	return t, nil
}

// carry, drop and ask add lines to the report. None of them may have the value of a secret.
func (t *translation) carry(name, format string, args ...any) {
	t.carried = append(t.carried, name+": "+fmt.Sprintf(format, args...))
}

func (t *translation) drop(name, format string, args ...any) {
	t.dropped = append(t.dropped, name+": "+fmt.Sprintf(format, args...))
}

func (t *translation) ask(format string, args ...any) {
	t.todo = append(t.todo, fmt.Sprintf(format, args...))
}

// take is Settings.first for a value that is needed: one that is unresolved is dropped with its reason.
func (t *translation) take(keys ...string) (Setting, bool) {
	found, ok := t.settings.first(keys...)
	if ok && found.Unresolved != "" {
		t.drop(found.Name, "%s", found.Unresolved)
		return found, false
	}
	return found, ok
}

func (t *translation) report() string {
	var b strings.Builder
	section := func(title string, lines []string) {
		if len(lines) > 0 {
			fmt.Fprintf(&b, "%s\n", title)
			for _, line := range lines {
				fmt.Fprintf(&b, "  - %s\n", line)
			}
		}
	}
	section("Carried over:", t.carried)
	section("Not carried over, and why:", t.dropped)
	section("To do:", t.todo)
	var left []string
	for _, v := range t.settings.variables {
		if !t.settings.used[v.key] {
			left = append(left, v.name)
		}
	}
	slices.Sort(left)
	if len(left) > 0 {
		fmt.Fprintf(&b, "Not known here, and left to the app: %s\n", strings.Join(left, ", "))
	}
	return b.String()
}
