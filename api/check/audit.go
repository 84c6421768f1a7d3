package check

import (
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// Bounds of the audit trail. MaxMemorySpool leaves room in the sidecar's memory for what requests need.
const (
	MinSpool              = 1 << 20
	MaxSpool              = 1 << 30
	MaxMemorySpool        = 256 << 20
	MaxRetainDays         = 3650
	minCheckpointInterval = time.Second
	maxCheckpointInterval = time.Hour
	maxAuditStatuses      = 16
	maxChangedFields      = 32
	maxChangedName        = 256
)

var resourceKind = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,63}$`) })

// ResourceKind refuses a text that is not the name of a kind of resource in the audit trail.
func ResourceKind(kind string) error {
	if !resourceKind().MatchString(kind) {
		return fmt.Errorf("%.64q is not a kind of resource; write a letter and then up to 63 letters, digits, dots, hyphens and underscores, for example user", kind)
	}
	return nil
}

// audit checks spec.audit, and what it needs of the class.
func (c *checker) audit(p *compiled.Policy) {
	a := p.Audit
	if a == nil {
		return
	}
	const field = "spec.audit"
	c.auditLists(field, a)
	c.onFailure(field+".onFailure", a.OnFailure)
	c.mode(field+".mode", a.Mode)
	c.add(field+".format", oneOf(a.Format, compiled.AuditFormatPostern, compiled.AuditFormatOCSF))
	if a.Format == compiled.AuditFormatOCSF && !a.Has(compiled.AuditLog) && !a.Has(compiled.AuditOTLP) {
		c.addf(field+".format", "format OCSF applies to the sinks Log and OTLP, and there is neither; add Log to sinks, or leave format out")
	}
	c.auditRetain(field+".retain", a)
	c.auditSinks(field, p)
	c.auditPersonal(field, p)
	if len(a.Lifecycle) > 0 && !slices.Contains(a.Events, compiled.AuditLifecycle) {
		c.addf(field+".lifecycle", "events does not contain Lifecycle, so nothing would be recorded; add Lifecycle to events, or leave lifecycle out")
	}
	for i := range a.Lifecycle {
		c.lifecycle(at(field+".lifecycle", i), &a.Lifecycle[i])
	}
	c.auditOptions(p)
	c.database(p)
}

func (c *checker) auditLists(field string, a *compiled.Audit) {
	lists := []struct {
		name      string
		got, want []string
	}{
		{"events", a.Events, compiled.AuditCategories()},
		{"sinks", a.Sinks, []string{compiled.AuditLog, compiled.AuditPostgreSQL, compiled.AuditOTLP}},
		{"pseudonymise", a.Pseudonymise, []string{compiled.PseudonymClientAddress, compiled.PseudonymSubject}},
		{"encryptPerSubject", a.Encrypt, []string{compiled.EncryptChanges, compiled.EncryptUserAgent, compiled.EncryptIPAddress}},
	}
	for _, l := range lists {
		for i, s := range l.got {
			c.add(at(field+"."+l.name, i), oneOf(s, l.want...))
		}
		c.unique(field+"."+l.name, l.got)
	}
}

// unique refuses an entry that a list has twice.
func (c *checker) unique(field string, list []string) {
	for i, s := range list {
		if slices.Contains(list[:i], s) {
			c.addf(at(field, i), "%.64q is in the list twice; write it once", s)
		}
	}
}

func (c *checker) auditRetain(field string, a *compiled.Audit) {
	switch {
	case a.RetainDays != 0 && !a.Has(compiled.AuditPostgreSQL):
		c.addf(field, "it applies to the sink PostgreSQL only; add PostgreSQL to sinks, or leave retain out")
	case a.Has(compiled.AuditPostgreSQL) && (a.RetainDays < 1 || a.RetainDays > MaxRetainDays):
		c.addf(field, "%d days are not between 1 and %d; write a number of days in that range, for example 400d", a.RetainDays, MaxRetainDays)
	}
}

// auditSinks checks that the class has what the sinks need.
func (c *checker) auditSinks(field string, p *compiled.Policy) {
	for i, sink := range p.Audit.Sinks {
		switch {
		case sink == compiled.AuditPostgreSQL && p.Database == nil:
			c.addf(at(field+".sinks", i), "the SidecarClass has no database; add spec.database to the SidecarClass, for example {address: \"postgres.platform.svc:5432\", name: postern, credentials: {vault: {path: database/creds/postern-audit}}}, or remove PostgreSQL")
		case sink == compiled.AuditOTLP && !p.ExportsOTLP():
			c.addf(at(field+".sinks", i), "the SidecarClass has no telemetry; add spec.telemetry.otlp to the SidecarClass, for example {endpoint: \"otel.platform.svc:4317\"}, or remove OTLP")
		}
	}
}

// auditPersonal checks what hides personal data.
func (c *checker) auditPersonal(field string, p *compiled.Policy) {
	a := p.Audit
	const remedy = "needs the key of the audit trail; add spec.audit.keyRef to the SidecarClass, for example {secretKeyRef: {name: postern-audit, key: key}}"
	keyless := p.AuditOptions == nil || p.AuditOptions.Key == nil
	if len(a.Pseudonymise) > 0 && keyless {
		c.addf(field+".pseudonymise", "it %s", remedy)
	}
	switch {
	case len(a.Encrypt) == 0:
	case !a.Has(compiled.AuditPostgreSQL):
		c.addf(field+".encryptPerSubject", "it needs the sink PostgreSQL, where the keys of the subjects are; add PostgreSQL to sinks, or leave encryptPerSubject out")
	case keyless:
		c.addf(field+".encryptPerSubject", "it %s", remedy)
	}
	if slices.Contains(a.Pseudonymise, compiled.PseudonymClientAddress) && slices.Contains(a.Encrypt, compiled.EncryptIPAddress) {
		c.addf(field+".encryptPerSubject", "the client's address cannot both have a pseudonym and be encrypted; remove ClientAddress from pseudonymise, or ip_address from encryptPerSubject")
	}
}

func (c *checker) lifecycle(field string, r *compiled.LifecycleRule) {
	c.add(field+".resource", ResourceKind(r.Resource))
	c.add(field+".action", oneOf(r.Action, compiled.LifecycleCreate, compiled.LifecycleUpdate, compiled.LifecycleDelete))
	if len(r.Match) == 0 {
		c.addf(field+".match", "the rule matches nothing; write at least one match, for example {methods: [POST], paths: [/users]}")
	}
	c.matches(field+".match", r.Match)
	c.resourceID(field+".id", r)
	if len(r.Changes) > maxChangedFields {
		c.addf(field+".changes.requestJSON", "%d fields are more than %d; record fewer", len(r.Changes), maxChangedFields)
	}
	for i, name := range r.Changes {
		if len(name) > maxChangedName {
			c.addf(at(field+".changes.requestJSON", i), "it is longer than %d bytes; write a shorter path, for example user.email", maxChangedName)
			continue
		}
		c.add(at(field+".changes.requestJSON", i), JSONPath(name))
	}
	c.unique(field+".changes.requestJSON", r.Changes)
	c.unique(field+".changes.redact", r.Redact)
	for i, name := range r.Redact {
		if !slices.Contains(r.Changes, name) {
			c.addf(at(field+".changes.redact", i), "%.64q is not in requestJSON, so it is not recorded; add it to requestJSON, or remove it here", name)
		}
	}
	c.lifecycleStatuses(field+".statuses", r.Statuses)
}

func (c *checker) lifecycleStatuses(field string, statuses []int) {
	if len(statuses) > maxAuditStatuses {
		c.addf(field, "%d statuses are more than %d; write fewer", len(statuses), maxAuditStatuses)
	}
	for i, s := range statuses {
		switch {
		case s < 200 || s > 599:
			c.addf(at(field, i), "%d is not the status of a response; write one from 200 to 599, for example 201", s)
		case slices.Contains(statuses[:i], s):
			c.addf(at(field, i), "%d is in the list twice; write it once", s)
		}
	}
}

func (c *checker) resourceID(field string, r *compiled.LifecycleRule) {
	id := r.ID
	if id == nil {
		return
	}
	places := 0
	for _, given := range []bool{id.ResponseJSON != "", id.RequestJSON != "", id.ResponseHeader != "", id.Segment != nil} {
		if given {
			places++
		}
	}
	switch {
	case places != 1:
		c.addf(field, "write exactly one of responseJSON, requestJSON, segment and responseHeader, for example {responseJSON: id}")
	case id.ResponseJSON != "":
		c.add(field+".responseJSON", JSONPath(id.ResponseJSON))
	case id.RequestJSON != "":
		c.add(field+".requestJSON", JSONPath(id.RequestJSON))
	case id.ResponseHeader != "":
		c.add(field+".responseHeader", FieldName(id.ResponseHeader))
	default:
		c.add(field+".segment", segmentOf(*id.Segment, r.Match))
	}
}

// segmentOf refuses the number of a segment that the paths of a match never have.
func segmentOf(n int, matches []compiled.Match) error {
	if n < 0 {
		return fmt.Errorf("%d is negative; write the number of a segment from 0: in /users/42, 0 is users, and 1 is 42", n)
	}
	for _, m := range matches {
		if len(m.Paths) == 0 {
			return fmt.Errorf("a match without paths is for paths of any length; write paths, for example [/users/*]")
		}
		for _, path := range m.Paths {
			pattern, err := ParsePattern(path)
			if err == nil && !pattern.rest && n >= len(pattern.segments) {
				return fmt.Errorf("%.128q has no segment %d; segments are counted from 0, and its last one is %d: write that, or another path", path, n, len(pattern.segments)-1)
			}
		}
	}
	return nil
}

// auditOptions checks a section of the SidecarClass.
func (c *checker) auditOptions(p *compiled.Policy) {
	const field = "sidecarClass.spec.audit"
	o := p.AuditOptions
	if o == nil {
		return
	}
	c.secret(field+".keyRef", o.Key)
	if k := o.SigningKey; k != nil {
		c.add(field+".signingKey.vaultTransit.mount", VaultPath(k.Mount))
		c.add(field+".signingKey.vaultTransit.key", TransitKey(k.Key))
	}
	most := int64(MaxSpool)
	if !o.SpoolVolume {
		most = MaxMemorySpool
	}
	if o.SpoolBytes < MinSpool || o.SpoolBytes > most {
		c.addf(field+".spool.maxBytes", "%d bytes are not between 1MiB and %dMiB, the bounds of this storage; write a size in that range, for example 16MiB", o.SpoolBytes, most>>20)
	}
	if d := o.CheckpointInterval.Std(); d < minCheckpointInterval || d > maxCheckpointInterval {
		c.addf(field+".checkpointInterval", "%s is not between %s and %s; write a duration in that range, for example 1m", d, minCheckpointInterval, maxCheckpointInterval)
	}
}
