package compile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// addAudit adds spec.audit to the document, and what it uses of the class. A document without an audit trail has none of it, so that its
// pods get no credentials for it and need no restart when the class changes it.
func (c *compiler) addAudit(p *compiled.Policy, in *v1alpha1.Audit, class *v1alpha1.SidecarClassSpec) {
	if in == nil {
		return
	}
	days, err := in.Retain.Number()
	if err != nil {
		c.errorf("spec.audit.retain", "%v", err)
	}
	p.Audit = &compiled.Audit{
		Events: texts(in.Events), Sinks: texts(in.Sinks), Format: string(in.Format), Pseudonymise: texts(in.Pseudonymise), Encrypt: texts(in.EncryptPerSubject),
		RetainDays: days, OnFailure: compiled.FailureMode(in.OnFailure), Mode: compiled.Mode(in.Mode),
	}
	for i := range in.Lifecycle {
		p.Audit.Lifecycle = append(p.Audit.Lifecycle, lifecycleRule(&in.Lifecycle[i]))
	}
	p.AuditOptions = c.auditOptions(class.Audit)
	if p.Audit.Has(compiled.AuditPostgreSQL) {
		p.Database = c.database(class.Database)
	}
}

func lifecycleRule(in *v1alpha1.LifecycleRule) compiled.LifecycleRule {
	r := compiled.LifecycleRule{Resource: in.Resource, Action: string(in.Action), Match: matches(in.Match)}
	if id := in.ID; id != nil {
		r.ID = &compiled.ResourceID{ResponseJSON: id.ResponseJSON, RequestJSON: id.RequestJSON, ResponseHeader: id.ResponseHeader}
		if id.Segment != nil {
			n := int(*id.Segment)
			r.ID.Segment = &n
		}
	}
	if in.Changes != nil {
		r.Changes, r.Redact = in.Changes.RequestJSON, in.Changes.Redact
	}
	for _, s := range in.Statuses {
		r.Statuses = append(r.Statuses, int(s))
	}
	return r
}

// auditOptions translates a section of the class, which has its defaults.
func (c *compiler) auditOptions(in *v1alpha1.AuditOptions) *compiled.AuditOptions {
	const field = "sidecarClass.spec.audit"
	size, err := in.Spool.MaxBytes.Bytes()
	if err != nil {
		c.errorf(field+".spool.maxBytes", "%v", err)
	}
	o := &compiled.AuditOptions{
		Key: c.secretRef(field+".keyRef", in.KeyRef), SpoolBytes: int64(size), SpoolVolume: in.Spool.Storage == v1alpha1.SpoolEmptyDir,
		CheckpointInterval: c.duration(field+".checkpointInterval", in.CheckpointInterval),
	}
	if k := in.SigningKey; k != nil {
		o.SigningKey = &compiled.TransitKey{Mount: k.VaultTransit.Mount, Key: k.VaultTransit.Key}
	}
	return o
}

// database translates a section of the class. Sidecars that append to a stream get no address and no credentials.
func (c *compiler) database(in *v1alpha1.Database) *compiled.Database {
	if in == nil {
		return nil
	}
	const field = "sidecarClass.spec.database"
	if in.Via == v1alpha1.ViaRedisStream {
		return &compiled.Database{Via: compiled.ViaRedisStream}
	}
	d := &compiled.Database{Via: string(in.Via), Address: in.Address, Name: in.Name, MaxConnections: int(in.MaxConnections)}
	if cred := in.Credentials; cred != nil {
		d.User, d.Password = c.secretRef(field+".credentials.userRef", cred.UserRef), c.secretRef(field+".credentials.passwordRef", cred.PasswordRef)
		if cred.Vault != nil {
			d.VaultPath = cred.Vault.Path
		}
	}
	switch {
	case in.TLS.Mode != v1alpha1.DatabaseTLSDisable:
		d.TLS = &compiled.DatabaseTLS{CABundle: in.TLS.CABundle, ServerName: in.TLS.ServerName}
	case in.TLS.CABundle != "" || in.TLS.ServerName != "":
		c.errorf(field+".tls", "caBundle and serverName have no effect with mode Disable: write mode: VerifyFull, or remove them")
	}
	return d
}

// warnAudit reports an audit trail that is weaker than it looks.
func (c *compiler) warnAudit(p *compiled.Policy) {
	a := p.Audit
	if a == nil {
		return
	}
	if o := p.AuditOptions; a.Has(compiled.AuditPostgreSQL) && o.Key == nil && o.SigningKey == nil {
		c.warnf("sidecarClass.spec.audit", "there is no key, so there are no signed checkpoints, and anybody who may write to the database can replace the "+
			"whole trail: add keyRef, such as {secretKeyRef: {name: postern-audit, key: key}}, or signingKey")
	}
	if p.Database != nil && p.Database.Via == compiled.ViaDirect && p.Database.TLS == nil {
		c.warnf("sidecarClass.spec.database.tls", "mode Disable sends the records and the password of the database in clear text: write mode: VerifyFull")
	}
	for i := range a.Lifecycle {
		field := fmt.Sprintf("spec.audit.lifecycle[%d]", i)
		c.suspectMatches(field, a.Lifecycle[i].Match)
		c.warnSecrets(field, &a.Lifecycle[i])
	}
	c.warnHidden(p)
}

// warnSecrets reports fields that look like secrets. Records cannot be changed later.
func (c *compiler) warnSecrets(field string, r *compiled.LifecycleRule) {
	for i, name := range r.Changes {
		last := strings.ToLower(name[strings.LastIndexByte(name, '.')+1:])
		secret := slices.ContainsFunc([]string{"password", "passwd", "passphrase", "secret", "token"}, func(s string) bool { return strings.Contains(last, s) })
		if secret && !slices.Contains(r.Redact, name) {
			c.warnf(fmt.Sprintf("%s.changes.requestJSON[%d]", field, i), "%q looks like a secret, and its value would be in the trail, which cannot be changed: add it to redact, or remove it", name)
		}
	}
}

// warnHidden reports lifecycle rules that never apply, because rules before them match all their requests and statuses.
func (c *compiler) warnHidden(p *compiled.Policy) {
	rules := p.Audit.Lifecycle
	for i := range rules {
		var earlier []int
		var matches [][]compiled.Match
		for j := range i {
			if coversStatuses(rules[j].Statuses, rules[i].Statuses) {
				earlier, matches = append(earlier, j), append(matches, rules[j].Match)
			}
		}
		if len(earlier) == 0 {
			continue
		}
		coverage := check.NewCoverage(append(matches, rules[i].Match), p.Paths != nil && p.Paths.CaseInsensitive, maxComparisons/len(rules))
		by := coverage.CoveredBy(len(earlier))
		if len(by) == 0 {
			continue
		}
		var names []string
		for _, j := range by[:min(len(by), maxNamedRules)] {
			names = append(names, fmt.Sprintf("lifecycle[%d]", earlier[j]))
		}
		c.warnf(fmt.Sprintf("spec.audit.lifecycle[%d]", i), "never applies, because %s before it %s all its requests: move this rule before %s, or remove it",
			strings.Join(names, ", "), plural(by, "matches", "match"), plural(by, "it", "them"))
	}
}

// coversStatuses reports whether the statuses of an earlier rule contain those of a later one. None stand for 2xx.
func coversStatuses(earlier, later []int) bool {
	if len(later) == 0 {
		return len(earlier) == 0
	}
	return !slices.ContainsFunc(later, func(s int) bool {
		return len(earlier) == 0 && s/100 != 2 || len(earlier) > 0 && !slices.Contains(earlier, s)
	})
}
