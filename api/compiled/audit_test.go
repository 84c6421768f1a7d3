package compiled

import (
	"strings"
	"testing"
	"time"
)

// withAudit returns a document with an audit trail.
func withAudit() *Policy {
	p, segment := full(), 1
	p.Audit = &Audit{
		Events: AuditCategories(), Sinks: []string{AuditLog, AuditPostgreSQL}, Format: AuditFormatPostern, RetainDays: 400, OnFailure: Deny, Mode: Enforce,
		Lifecycle: []LifecycleRule{{
			Resource: "user", Action: LifecycleUpdate, Match: []Match{{Methods: []string{"PATCH"}, Paths: []string{"/users/*"}}}, ID: &ResourceID{Segment: &segment},
		}},
	}
	p.AuditOptions = &AuditOptions{Key: &SecretRef{Name: "audit", Key: "key"}, SpoolBytes: 16 << 20, CheckpointInterval: Duration(time.Minute)}
	p.Database = &Database{Via: ViaDirect, Address: "p:5432", Name: "postern", User: &SecretRef{Name: "pg", Key: "u"}, Password: &SecretRef{Name: "pg", Key: "p"}, MaxConnections: 2}
	return p
}

func TestDecodeAudit(t *testing.T) {
	changes := map[string]struct {
		change  func(*Policy)
		wantErr string // empty if the document is valid
	}{
		"a trail":                         {func(*Policy) {}, ""},
		"a trail in the log":              {func(p *Policy) { p.Database = nil }, ""},
		"a stream":                        {func(p *Policy) { p.Database = &Database{Via: ViaRedisStream} }, ""},
		"options without a trail":         {func(p *Policy) { p.Audit, p.Database = nil, nil }, "for a document with audit"},
		"a database without a trail":      {func(p *Policy) { p.Audit, p.AuditOptions = nil, nil }, "for a document with audit"},
		"a trail without options":         {func(p *Policy) { p.AuditOptions = nil }, "auditOptions"},
		"a spool of nothing":              {func(p *Policy) { p.AuditOptions.SpoolBytes = 0 }, "auditOptions"},
		"checkpoints all the time":        {func(p *Policy) { p.AuditOptions.CheckpointInterval = 0 }, "auditOptions"},
		"no events":                       {func(p *Policy) { p.Audit.Events = nil }, "events and sinks"},
		"no sinks":                        {func(p *Policy) { p.Audit.Sinks = nil }, "events and sinks"},
		"an unknown category":             {func(p *Policy) { p.Audit.Events[0] = "x" }, `events is "x"`},
		"an unknown sink":                 {func(p *Policy) { p.Audit.Sinks[0] = "x" }, `sinks is "x"`},
		"an unknown format":               {func(p *Policy) { p.Audit.Format = "" }, "format"},
		"an unknown pseudonym":            {func(p *Policy) { p.Audit.Pseudonymise = []string{"x"} }, "pseudonymise"},
		"an unknown field":                {func(p *Policy) { p.Audit.Encrypt = []string{"subject"} }, "encrypt"},
		"an unknown failure mode":         {func(p *Policy) { p.Audit.OnFailure = "" }, "onFailure"},
		"an unknown mode":                 {func(p *Policy) { p.Audit.Mode = "" }, "audit: mode"},
		"an unknown action":               {func(p *Policy) { p.Audit.Lifecycle[0].Action = "READ" }, "lifecycle[0]: action"},
		"a rule for nothing":              {func(p *Policy) { p.Audit.Lifecycle[0].Match = nil }, "lifecycle[0]: resource and match"},
		"an unknown way to the database":  {func(p *Policy) { p.Database.Via = "Kafka" }, "database: via"},
		"a database without an address":   {func(p *Policy) { p.Database.Address = "" }, "database: address"},
		"a database without a password":   {func(p *Policy) { p.Database.Password = nil }, "credentials are required"},
		"a database with two credentials": {func(p *Policy) { p.Database.VaultPath = "database/creds/r" }, "credentials are required"},
		"credentials in no Vault": {func(p *Policy) {
			p.Database.User, p.Database.Password, p.Database.VaultPath = nil, nil, "database/creds/r"
		}, "vault is not set"},
		"a signing key in no Vault": {func(p *Policy) { p.AuditOptions.SigningKey = &TransitKey{Mount: "transit", Key: "k"} }, "vault is not set"},
		"a key outside its folder":  {func(p *Policy) { p.AuditOptions.Key.Key = "../token" }, "not a valid name and key"},
		"a user outside its folder": {func(p *Policy) { p.Database.User.Name = "../token" }, "not a valid name and key"},
	}
	for name, tt := range changes {
		t.Run(name, func(t *testing.T) {
			p := withAudit()
			tt.change(p)
			_, err := Decode(encode(t, p))
			if tt.wantErr == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("error %v; want %q", err, tt.wantErr)
			}
		})
	}
}
