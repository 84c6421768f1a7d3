package compiled

import (
	"errors"
	"slices"
)

// Categories of events, sinks, formats, pseudonyms and encrypted fields of an Audit, and actions of a LifecycleRule.
const (
	AuditLifecycle = "Lifecycle"

	AuditLog        = "Log"
	AuditPostgreSQL = "PostgreSQL"
	AuditOTLP       = "OTLP"

	AuditFormatPostern = "Postern"
	AuditFormatOCSF    = "OCSF"

	PseudonymClientAddress = "ClientAddress"
	PseudonymSubject       = "Subject"

	EncryptChanges   = "changes"
	EncryptUserAgent = "user_agent"
	EncryptIPAddress = "ip_address"

	LifecycleCreate = "CREATE"
	LifecycleUpdate = "UPDATE"
	LifecycleDelete = "DELETE"
)

// AuditCategories returns the categories of events.
func AuditCategories() []string {
	return []string{"Authentication", "Session", "Authorization", "RateLimit", "Password", "APIKey", "Admin", AuditLifecycle}
}

// Audit is the audit trail.
type Audit struct {
	// Events are the recorded categories.
	Events    []string        `json:"events"`
	Lifecycle []LifecycleRule `json:"lifecycle,omitempty"`
	// Sinks are Log, PostgreSQL and OTLP; at least one.
	Sinks []string `json:"sinks"`
	// Format of Log and OTLP: Postern or OCSF.
	Format string `json:"format"`
	// Pseudonymise has ClientAddress and Subject. Encrypt has names of fields of a record.
	Pseudonymise []string `json:"pseudonymise,omitempty"`
	Encrypt      []string `json:"encrypt,omitempty"`
	// RetainDays is how long records stay in PostgreSQL; 0 without that sink.
	RetainDays int         `json:"retainDays,omitempty"`
	OnFailure  FailureMode `json:"onFailure"`
	Mode       Mode        `json:"mode"`
}

// Has reports whether records go to the sink.
func (a *Audit) Has(sink string) bool { return a != nil && slices.Contains(a.Sinks, sink) }

// LifecycleRule says which requests create, update or delete a resource. The first that matches the request and the status applies.
type LifecycleRule struct {
	Resource string  `json:"resource"`
	Action   string  `json:"action"`
	Match    []Match `json:"match"`
	// ID is nil if the id of the resource is not known.
	ID *ResourceID `json:"id,omitempty"`
	// Changes are members of the request's JSON, and Redact those of them whose values are withheld.
	Changes []string `json:"changes,omitempty"`
	Redact  []string `json:"redact,omitempty"`
	// Statuses say that the action was done; none stand for 2xx.
	Statuses []int `json:"statuses,omitempty"`
}

// ResourceID is the place of a resource's id: exactly one of its fields is set.
type ResourceID struct {
	ResponseJSON   string `json:"responseJSON,omitempty"`
	RequestJSON    string `json:"requestJSON,omitempty"`
	ResponseHeader string `json:"responseHeader,omitempty"`
	// Segment is the number of a segment of the request's path, from 0.
	Segment *int `json:"segment,omitempty"`
}

// AuditOptions are the keys of the audit trail, and where records wait for their sinks.
type AuditOptions struct {
	// Key is the master key; nil for none.
	Key *SecretRef `json:"key,omitempty"`
	// SigningKey is nil if the key that signs checkpoints is derived from Key, or there are no signed checkpoints without Key.
	SigningKey *TransitKey `json:"signingKey,omitempty"`
	// SpoolBytes bounds the records that wait.
	SpoolBytes int64 `json:"spoolBytes"`
	// SpoolVolume says that they wait on the volume at SpoolDir, and not in memory.
	SpoolVolume        bool     `json:"spoolVolume,omitempty"`
	CheckpointInterval Duration `json:"checkpointInterval"`
}

// Database is the PostgreSQL database of the audit trail.
type Database struct {
	// Via is Direct, or RedisStream: then the sidecar appends to a stream in Redis, and the other fields are empty.
	Via     string `json:"via"`
	Address string `json:"address,omitempty"`
	Name    string `json:"name,omitempty"`
	// VaultPath, or User and Password, are the credentials.
	VaultPath string     `json:"vaultPath,omitempty"`
	User      *SecretRef `json:"user,omitempty"`
	Password  *SecretRef `json:"password,omitempty"`
	// TLS is nil if the connection is not encrypted.
	TLS            *DatabaseTLS `json:"tls,omitempty"`
	MaxConnections int          `json:"maxConnections,omitempty"`
}

// Values of Database.Via.
const (
	ViaDirect      = "Direct"
	ViaRedisStream = "RedisStream"
)

// DatabaseTLS says how the server is verified. An empty ServerName stands for the host of the address.
type DatabaseTLS struct {
	CABundle   string `json:"caBundle,omitempty"`
	ServerName string `json:"serverName,omitempty"`
}

func (p *Policy) validateAudit() error {
	if p.Audit == nil {
		if p.AuditOptions != nil || p.Database != nil {
			return errors.New("auditOptions and database are for a document with audit")
		}
		return nil
	}
	return errors.Join(wrap(p.Audit.validate(), "audit"), wrap(p.AuditOptions.validate(), "auditOptions"), wrap(p.Database.validate(), "database"))
}

func (a *Audit) validate() error {
	errs := []error{
		oneOf("format", a.Format, AuditFormatPostern, AuditFormatOCSF), oneOf("onFailure", a.OnFailure, Deny, Allow), oneOf("mode", a.Mode, Enforce, Shadow),
	}
	if len(a.Events) == 0 || len(a.Sinks) == 0 {
		errs = append(errs, errors.New("events and sinks are required"))
	}
	for _, e := range a.Events {
		errs = append(errs, oneOf("events", e, AuditCategories()...))
	}
	for _, s := range a.Sinks {
		errs = append(errs, oneOf("sinks", s, AuditLog, AuditPostgreSQL, AuditOTLP))
	}
	for _, s := range a.Pseudonymise {
		errs = append(errs, oneOf("pseudonymise", s, PseudonymClientAddress, PseudonymSubject))
	}
	for _, s := range a.Encrypt {
		errs = append(errs, oneOf("encrypt", s, EncryptChanges, EncryptUserAgent, EncryptIPAddress))
	}
	for i := range a.Lifecycle {
		r := &a.Lifecycle[i]
		errs = append(errs, wrap(oneOf("action", r.Action, LifecycleCreate, LifecycleUpdate, LifecycleDelete), "lifecycle[%d]", i))
		if r.Resource == "" || len(r.Match) == 0 {
			errs = append(errs, wrap(errors.New("resource and match are required"), "lifecycle[%d]", i))
		}
	}
	return errors.Join(errs...)
}

func (o *AuditOptions) validate() error {
	if o == nil || o.SpoolBytes <= 0 || o.CheckpointInterval <= 0 {
		return errors.New("spoolBytes and checkpointInterval are required")
	}
	return nil
}

func (d *Database) validate() error {
	if d == nil {
		return nil
	}
	direct := d.Address != "" && d.Name != "" && d.MaxConnections > 0 && (d.VaultPath != "") != (d.User != nil && d.Password != nil)
	if d.Via == ViaDirect && !direct {
		return errors.New("address, name, maxConnections and credentials are required")
	}
	return oneOf("via", d.Via, ViaDirect, ViaRedisStream)
}
