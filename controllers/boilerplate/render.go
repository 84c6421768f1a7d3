package boilerplate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// page writes YAML. Texts of the settings are quoted as JSON strings, which YAML reads alike.
type page struct{ bytes.Buffer }

func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

func quote(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		return `""` // unreachable: a string always has a form
	}
	return string(b)
}

func quotes(list []string) string {
	quoted := make([]string, len(list))
	for i, text := range list {
		quoted[i] = quote(text)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// ref returns a reference to a secret.
func (t *translation) ref(object, key string) string {
	if t.VaultPath != "" {
		return fmt.Sprintf("vault: {path: %s, key: %s}", quote(t.VaultPath+"/"+object), key)
	}
	return fmt.Sprintf("secretKeyRef: {name: %s, key: %s}", quote(t.Name+"-"+object), key)
}

func (t *translation) renderClass() []byte {
	p := &page{}
	p.line("# How the sidecars run. Written by postern init; the values are yours to change.")
	p.line("apiVersion: postern.dev/v1alpha1\nkind: SidecarClass\nmetadata: {name: %s}", quote(t.Name))
	empty := t.logLevel == "" && len(t.proxies) == 0 && t.redis == nil && t.VaultPath == ""
	if empty {
		p.line("spec: {}")
		return p.Bytes()
	}
	p.line("spec:")
	if t.logLevel != "" {
		p.line("  logLevel: %s", t.logLevel)
	}
	if len(t.proxies) > 0 {
		p.line("  trustedProxies: %s", quotes(t.proxies))
	}
	if r := t.redis; r != nil {
		p.line("  redis:\n    mode: %s\n    addresses: %s", r.Mode, quotes(r.Addresses))
		if r.MasterName != "" {
			p.line("    masterName: %s", quote(r.MasterName))
		}
		if r.Database != 0 {
			p.line("    database: %d", r.Database)
		}
		if r.Username != "" {
			p.line("    username: %s", quote(r.Username))
		}
		if r.hasPassword() {
			p.line("    passwordRef: {%s}", t.ref("redis", "password"))
		}
		if r.TLS {
			p.line("    tls: {}")
		}
	}
	if t.VaultPath != "" {
		p.line("  vault:\n    address: %s\n    auth: {kubernetes: {role: postern}}", quote(t.VaultAddress))
	}
	return p.Bytes()
}

func (t *translation) renderPolicy() []byte {
	p := &page{}
	key, value, _ := strings.Cut(t.Selector, "=")
	p.line("# Written by postern init; the values are yours to change. In Shadow mode nothing is refused.")
	p.line("apiVersion: postern.dev/v1alpha1\nkind: SecurityPolicy\nmetadata: {name: %s, namespace: %s}\nspec:", quote(t.Name), quote(t.Namespace))
	p.line("  selector: {matchLabels: {%s: %s}}", quote(key), quote(value))
	p.line("  sidecarClassName: %s\n  mode: Shadow\n  ports: [{port: %d}]", quote(t.Name), t.Port)
	t.renderTokens(p)
	t.renderLegacy(p)
	p.line("  authorization:\n    default: Authenticated\n    rules:")
	p.line("    - {name: login, match: [{methods: [POST], paths: [%s]}], require: Anonymous}", quote(t.LoginPath))
	if t.ResetPath != "" {
		p.line("    - {name: reset, match: [{methods: [POST], paths: [%s]}], require: Anonymous}", quote(t.ResetPath))
	}
	t.renderLoginProtection(p)
	p.line("  rateLimits:")
	for _, l := range t.limits {
		p.line("  - {name: %s%s, limit: %s}", quote(l.name), l.match(), l.rate)
	}
	if c := t.cors; c != nil {
		p.line("  cors:\n    allowOrigins: %s", quotes(c.origins))
		if len(c.methods) > 0 {
			p.line("    allowMethods: %s", quotes(c.methods))
		}
		if len(c.headers) > 0 {
			p.line("    allowHeaders: %s", quotes(c.headers))
		}
		if c.credentials {
			p.line("    allowCredentials: true")
		}
	}
	return p.Bytes()
}

func (l limit) match() string {
	methods := ""
	if l.method != "" {
		methods = "methods: [" + l.method + "], "
	}
	if l.path == "" {
		return ""
	}
	return ", match: [{" + methods + "paths: [" + quote(l.path) + "]}]"
}

func (t *translation) renderTokens(p *page) {
	p.line("  tokens:\n    issuer: %s\n    audiences: [%s]", quote(t.tokens.issuer), quote(t.tokens.audience))
	if d := t.tokens.access; d >= time.Minute && d <= maxAccess && d%time.Second == 0 {
		p.line("    accessLifetime: %s", durationText(d))
	}
	if d := t.tokens.refresh; d > 0 && d <= maxRefresh {
		p.line("    refreshLifetime: %s", durationText(d))
	}
	if t.tokens.cookie {
		p.line("    delivery: Cookie")
	}
	if t.tokens.sameSite != "" {
		p.line("    cookie: {sameSite: %s}", t.tokens.sameSite)
	}
	p.line("    signingKey: {%s}", t.ref("signing", "key.pem"))
	p.line("    login:\n    - {methods: [POST], paths: [%s]}", quote(t.LoginPath))
	p.line("    claimsToHeaders: [{claim: sub, header: X-Auth-Subject}]")
}

func (t *translation) renderLegacy(p *page) {
	l := t.legacy
	if l == nil {
		return
	}
	p.line("  jwt:\n    providers:\n    - name: legacy # the tokens of the app's own code, until none is left")
	if l.issuer != "" {
		p.line("      issuer: %s", quote(l.issuer))
	}
	if l.audience != "" {
		p.line("      audiences: [%s]", quote(l.audience))
	}
	short := ""
	if l.short {
		short = ", shortSecret: Allow"
	}
	p.line("      legacy: {until: %s, subjectClaim: %s%s}", quote(l.until.Format(time.RFC3339)), quote(t.SubjectClaim), short)
	p.line("      algorithms: [%s]\n      jwks: {%s}", l.algorithm, t.ref("legacy", "secret"))
	if t.tokens.cookieName != "" {
		p.line("      from: [{header: Authorization, prefix: \"Bearer \"}, {cookie: %s}]", quote(t.tokens.cookieName))
	}
	if t.framework.accessOnly != "" {
		p.line("      requiredClaims: [{claim: %s, values: [access]}] # not the refresh tokens of the same secret", t.framework.accessOnly)
	}
	p.line("      claimsToHeaders: [{claim: %s, header: X-Auth-Subject}]", quote(t.SubjectClaim))
}

func (t *translation) renderLoginProtection(p *page) {
	kind, field, _ := strings.Cut(t.Account, ":")
	p.line("  loginProtection:\n    routes:")
	p.line("    - {name: login, match: [{methods: [POST], paths: [%s]}], account: {%s: %s}%s}", quote(t.LoginPath), kind, quote(field), t.framework.failure)
	if t.ResetPath != "" {
		if kind != "header" {
			field = "email" // where a reset asks for it, also if the login has a user name
		}
		p.line("    - {name: reset, kind: PasswordReset, match: [{methods: [POST], paths: [%s]}], account: {%s: %s}}", quote(t.ResetPath), kind, quote(field))
	}
	p.line("    perAccount: {failures: 5, within: 15m, lockFor: 1m, maxLock: 1h}")
	p.line("    perAddress: {failures: 50, within: 15m, lockFor: 5m}")
	if t.ResetPath != "" {
		p.line("    resets: {perAccount: 3/hour, perAddress: 10/hour}")
	}
	p.line("    knownDevices: {failures: 5}\n    response: Same\n    onFailure: Deny")
}

// renderCommands returns a script that stores the secrets. The values go from the settings through pipes: they are in no argument, no file
// and no history.
func (t *translation) renderCommands() []byte {
	p := &page{}
	p.line("#!/usr/bin/env bash\n# Stores the secrets. Written by postern init; it has no secret, and reads them from %s.", shellQuote(t.EnvFile))
	p.line("set -euo pipefail")
	p.line("\n# The key that signs new tokens. The app never has it.")
	p.line("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 | %s", t.store("signing", "key.pem"))
	ids := slices.Clone(t.secrets)
	slices.SortFunc(ids, func(a, b secret) int { return strings.Compare(a.id, b.id) })
	for _, s := range ids {
		if s.unknown != "" {
			p.line("\n# %s is not in the settings: type it, and press enter.", safe(s.variable))
			p.line("printf '%%s: ' %s >&2; IFS= read -rs value; echo >&2", safe(s.variable))
			p.line("printf %%s \"$value\" | %s", t.store(s.object, s.key))
			continue
		}
		p.line("\n# %s", safe(s.variable))
		p.line("postern init %s --print-secret %s | %s", t.arguments(), s.id, t.store(s.object, s.key))
	}
	return p.Bytes()
}

// arguments are those on which the value of a secret depends.
func (t *translation) arguments() string {
	args := "--env-file " + shellQuote(t.EnvFile) + " --name " + t.Name
	if t.Base64 {
		args += " --secret-encoding Base64"
	}
	if t.AcceptWeak {
		args += " --accept-weak-secret"
	}
	if t.Issuer != "" {
		args += " --issuer " + shellQuote(t.Issuer)
	}
	return args
}

func (t *translation) store(object, key string) string {
	if t.VaultPath != "" {
		return fmt.Sprintf("vault kv put %s %s=-", shellQuote(t.VaultPath+"/"+object), key)
	}
	return fmt.Sprintf("kubectl create secret generic %s-%s --namespace %s --from-file=%s=/dev/stdin", t.Name, object, t.Namespace, key)
}

// shellQuote returns text as one argument of a shell.
func shellQuote(text string) string {
	if text != "" && !strings.ContainsFunc(text, func(r rune) bool { return !inName(r) && r != '/' && r != ':' }) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
