package compile_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

// ofIssue is the audit trail and the class as users ask for them, with the key that it needs.
const (
	ofIssue = `
audit:
  events: [Authentication, Session, Authorization, RateLimit, Password, APIKey, Admin, Lifecycle]
  lifecycle:
  - {resource: user, action: CREATE, match: [{methods: [POST], paths: [/users]}], id: {responseJSON: id}, changes: {requestJSON: [name, email, role], redact: [email]}}
  - {resource: user, action: UPDATE, match: [{methods: [PATCH], paths: [/users/*]}], id: {segment: 1}, changes: {requestJSON: [name, email, role]}}
  sinks: [Log, PostgreSQL]           # Log | PostgreSQL | OTLP
  pseudonymise: [ClientAddress]
  encryptPerSubject: [changes, user_agent]
  retain: 400d
  onFailure: Deny                    # or Allow
`
	classOfIssue = `
vault: {address: "https://vault.platform.svc:8200", auth: {kubernetes: {role: postern}}}
database:                            # PostgreSQL; for audit now, for accounts later
  address: postgres.platform.svc:5432
  name: postern
  credentials: {vault: {path: database/creds/postern-audit}}   # or userRef/passwordRef as every secretRef
  via: Direct                        # or RedisStream
  tls: {mode: VerifyFull}
audit: {keyRef: {secretKeyRef: {name: postern-audit, key: key}}}
`
)

// audited compiles a policy under a class; an empty class is that of the issue.
func audited(t *testing.T, spec, class string) (*compiled.Policy, []compile.Finding) {
	t.Helper()
	if class == "" {
		class = classOfIssue
	}
	p, c := &v1alpha1.SecurityPolicy{}, &v1alpha1.SidecarClass{}
	for text, into := range map[string]any{spec: &p.Spec, class: &c.Spec} {
		if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	return compile.Compile(p, c)
}

func TestAuditOfTheIssue(t *testing.T) {
	p, findings := audited(t, ofIssue, "")
	if len(findings) > 0 {
		t.Fatalf("findings: %v", findings)
	}
	if !slices.Equal(p.SecretRefs(), []compiled.SecretRef{{Name: "postern-audit", Key: "key"}}) || p.Vault == nil {
		t.Errorf("secrets %v, Vault %v", p.SecretRefs(), p.Vault)
	}
	d := p.Database
	if d == nil || d.Address != "postgres.platform.svc:5432" || d.VaultPath != "database/creds/postern-audit" || d.TLS == nil || d.MaxConnections != 2 {
		t.Errorf("database %+v", d)
	}
	if p.Audit.RetainDays != 400 || len(p.Audit.Lifecycle) != 2 || *p.Audit.Lifecycle[1].ID.Segment != 1 {
		t.Errorf("audit %+v", p.Audit)
	}
}

// TestAuditDefaults: an empty section records everything in the log.
func TestAuditDefaults(t *testing.T) {
	p, findings := audited(t, `audit: {lifecycle: [{resource: user, action: CREATE, match: [{}]}, {resource: user, action: UPDATE, match: [{}]}, {resource: user, action: DELETE, match: [{}]}]}`, `{}`)
	if len(findings) > 0 {
		t.Fatalf("findings: %v", findings)
	}
	if !slices.Equal(p.Audit.Events, compiled.AuditCategories()) || !slices.Equal(p.Audit.Sinks, []string{"Log"}) || p.Audit.RetainDays != 0 || p.Database != nil {
		t.Errorf("audit %+v, database %+v", p.Audit, p.Database)
	}
	for i, want := range [][]string{{"POST"}, {"PUT", "PATCH"}, {"DELETE"}} {
		if got := p.Audit.Lifecycle[i].Match[0].Methods; !slices.Equal(got, want) {
			t.Errorf("methods of %s: %v; want %v", p.Audit.Lifecycle[i].Action, got, want)
		}
	}
	if p, _ := audited(t, `audit: {sinks: [PostgreSQL]}`, ""); p.Audit.RetainDays != 400 {
		t.Errorf("records are kept for %d days", p.Audit.RetainDays)
	}
}

// TestOnlyAuditedPodsGetItsSecrets: a document without the trail, or without a connection of its own, has no credentials for it.
func TestOnlyAuditedPodsGetItsSecrets(t *testing.T) {
	const class = `{redis: {addresses: ["r:6379"]}, database: {address: "p:5432", name: postern, via: %s, credentials: {userRef: {secretKeyRef: {name: pg, key: u}}, passwordRef: {secretKeyRef: {name: pg, key: p}}}}, audit: {keyRef: {secretKeyRef: {name: a, key: k}}}}`
	tests := map[string]struct {
		spec, via string
		want      []string
	}{
		"no trail":               {`{}`, "Direct", nil},
		"a trail in the log":     {`audit: {}`, "Direct", []string{"a"}},
		"a trail in PostgreSQL":  {`audit: {sinks: [PostgreSQL]}`, "Direct", []string{"a", "pg", "pg"}},
		"a trail by way of it":   {`audit: {sinks: [PostgreSQL]}`, "RedisStream", []string{"a"}},
		"a trail with personals": {`audit: {pseudonymise: [Subject]}`, "Direct", []string{"a"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, findings := audited(t, tt.spec, fmt.Sprintf(class, tt.via))
			if len(findings) > 0 {
				t.Fatal(findings)
			}
			var names []string
			for _, ref := range p.SecretRefs() {
				names = append(names, ref.Name)
			}
			if !slices.Equal(names, tt.want) {
				t.Errorf("secrets %v; want %v", names, tt.want)
			}
			if tt.via == "RedisStream" && *p.Database != (compiled.Database{Via: "RedisStream"}) {
				t.Errorf("database %+v", p.Database)
			}
		})
	}
}

func TestAuditIsRefused(t *testing.T) {
	rule := func(rest string) string {
		return `audit: {lifecycle: [{resource: user, action: UPDATE, match: [{paths: ["/users/*", /tenants/a/users]}], ` + rest + `}]}`
	}
	bare := func(rest string) string {
		return `{redis: {addresses: ["r:6379"]}, database: {address: "p:5432", name: postern, credentials: {userRef: {secretKeyRef: {name: s, key: u}}, passwordRef: {secretKeyRef: {name: s, key: p}}}` + rest + `}`
	}
	tests := map[string]struct {
		spec, class string
		want        refusal
	}{
		"PostgreSQL without a database":     {`audit: {sinks: [Log, PostgreSQL]}`, `{}`, refusal{"spec.audit.sinks[1]", "add spec.database to the SidecarClass"}},
		"OTLP without telemetry":            {`audit: {sinks: [OTLP]}`, ``, refusal{"spec.audit.sinks[0]", "add spec.telemetry.otlp to the SidecarClass"}},
		"encryption without PostgreSQL":     {`audit: {encryptPerSubject: [changes]}`, ``, refusal{"spec.audit.encryptPerSubject", "add PostgreSQL to sinks"}},
		"encryption without a key":          {`audit: {sinks: [PostgreSQL], encryptPerSubject: [changes]}`, bare(`}`), refusal{"spec.audit.encryptPerSubject", "add spec.audit.keyRef"}},
		"pseudonyms without a key":          {`audit: {pseudonymise: [Subject]}`, `{}`, refusal{"spec.audit.pseudonymise", "add spec.audit.keyRef"}},
		"an address hidden twice":           {`audit: {sinks: [PostgreSQL], pseudonymise: [ClientAddress], encryptPerSubject: [ip_address]}`, ``, refusal{"spec.audit.encryptPerSubject", "remove ClientAddress"}},
		"a stream without a Redis":          {`audit: {sinks: [PostgreSQL]}`, `{database: {address: "p:1", name: postern, via: RedisStream}, audit: {keyRef: {secretKeyRef: {name: s, key: k}}}}`, refusal{"sidecarClass.spec.database.via", "add spec.redis"}},
		"a database in no Vault":            {`audit: {sinks: [PostgreSQL]}`, `{database: {address: "p:1", name: postern, credentials: {vault: {path: database/creds/r}}}}`, refusal{"spec", "add spec.vault to the class"}},
		"a signing key in no Vault":         {`audit: {}`, `audit: {signingKey: {vaultTransit: {key: k}}}`, refusal{"spec", "add spec.vault to the class"}},
		"records of lifecycle nowhere":      {`audit: {events: [Admin], lifecycle: [{resource: user, action: CREATE, match: [{}]}]}`, ``, refusal{"spec.audit.lifecycle", "add Lifecycle to events"}},
		"an unknown category":               {`audit: {events: [Logins]}`, ``, refusal{"spec.audit.events[0]", "Authentication"}},
		"a category twice":                  {`audit: {events: [Admin, Session, Admin]}`, ``, refusal{"spec.audit.events[2]", "write it once"}},
		"a sink twice":                      {`audit: {sinks: [Log, Log]}`, ``, refusal{"spec.audit.sinks[1]", "write it once"}},
		"a pseudonym twice":                 {`audit: {pseudonymise: [Subject, Subject]}`, ``, refusal{"spec.audit.pseudonymise[1]", "write it once"}},
		"a field encrypted twice":           {`audit: {sinks: [PostgreSQL], encryptPerSubject: [changes, changes]}`, ``, refusal{"spec.audit.encryptPerSubject[1]", "write it once"}},
		"an unknown encrypted field":        {`audit: {sinks: [PostgreSQL], encryptPerSubject: [subject]}`, ``, refusal{"spec.audit.encryptPerSubject[0]", "user_agent"}},
		"an unknown format":                 {`audit: {format: CEF}`, ``, refusal{"spec.audit.format", "OCSF"}},
		"OCSF in PostgreSQL alone":          {`audit: {sinks: [PostgreSQL], format: OCSF}`, ``, refusal{"spec.audit.format", "add Log to sinks"}},
		"an unknown failure mode":           {`audit: {onFailure: Ignore}`, ``, refusal{"spec.audit.onFailure", "Deny"}},
		"an unknown mode":                   {`audit: {mode: Off}`, ``, refusal{"spec.audit.mode", "Shadow"}},
		"records kept in the log":           {`audit: {retain: 30d}`, ``, refusal{"spec.audit.retain", "add PostgreSQL to sinks"}},
		"records kept for hours":            {`audit: {sinks: [PostgreSQL], retain: 24h}`, ``, refusal{"spec.audit.retain", "for example 400d"}},
		"records kept for eleven years":     {`audit: {sinks: [PostgreSQL], retain: 4000d}`, ``, refusal{"spec.audit.retain", "not between 1 and 3650"}},
		"a resource that is none":           {`audit: {lifecycle: [{resource: "a b", action: CREATE, match: [{}]}]}`, ``, refusal{"spec.audit.lifecycle[0].resource", "for example user"}},
		"an action that is none":            {`audit: {lifecycle: [{resource: user, action: READ, match: [{}]}]}`, ``, refusal{"spec.audit.lifecycle[0].action", "CREATE"}},
		"an action on no route":             {`audit: {lifecycle: [{resource: user, action: CREATE, match: []}]}`, ``, refusal{"spec.audit.lifecycle[0].match", "at least one match"}},
		"an action on a path that is none":  {`audit: {lifecycle: [{resource: user, action: CREATE, match: [{paths: [users]}]}]}`, ``, refusal{"spec.audit.lifecycle[0].match[0].paths[0]", `"/users"`}},
		"an id of two places":               {rule(`id: {segment: 1, requestJSON: id}`), ``, refusal{"spec.audit.lifecycle[0].id", "exactly one"}},
		"an id of no place":                 {rule(`id: {}`), ``, refusal{"spec.audit.lifecycle[0].id", "exactly one"}},
		"an id that is no path":             {rule(`id: {responseJSON: "a[0]"}`), ``, refusal{"spec.audit.lifecycle[0].id.responseJSON", "user.email"}},
		"an id of the request that is none": {rule(`id: {requestJSON: ".a"}`), ``, refusal{"spec.audit.lifecycle[0].id.requestJSON", "user.email"}},
		"an id in a header that is none":    {rule(`id: {responseHeader: "X User"}`), ``, refusal{"spec.audit.lifecycle[0].id.responseHeader", "X-Request-ID"}},
		"an id beyond one of the paths":     {rule(`id: {segment: 2}`), ``, refusal{"spec.audit.lifecycle[0].id.segment", `"/users/*" has no segment 2`}},
		"an id before the path":             {rule(`id: {segment: -1}`), ``, refusal{"spec.audit.lifecycle[0].id.segment", "from 0"}},
		"an id in any path":                 {`audit: {lifecycle: [{resource: user, action: CREATE, match: [{}], id: {segment: 1}}]}`, ``, refusal{"spec.audit.lifecycle[0].id.segment", "write paths"}},
		"a change that is none":             {rule(`changes: {requestJSON: [name, "$.email"]}`), ``, refusal{"spec.audit.lifecycle[0].changes.requestJSON[1]", "user.email"}},
		"a change twice":                    {rule(`changes: {requestJSON: [name, name]}`), ``, refusal{"spec.audit.lifecycle[0].changes.requestJSON[1]", "write it once"}},
		"a long change":                     {rule(`changes: {requestJSON: [` + strings.Repeat("a", 257) + `]}`), ``, refusal{"spec.audit.lifecycle[0].changes.requestJSON[0]", "longer than 256"}},
		"too many changes":                  {rule(`changes: {requestJSON: [` + names(33) + `]}`), ``, refusal{"spec.audit.lifecycle[0].changes.requestJSON", "more than 32"}},
		"a redaction of nothing":            {rule(`changes: {requestJSON: [name], redact: [email]}`), ``, refusal{"spec.audit.lifecycle[0].changes.redact[0]", "add it to requestJSON"}},
		"a redaction twice":                 {rule(`changes: {requestJSON: [name], redact: [name, name]}`), ``, refusal{"spec.audit.lifecycle[0].changes.redact[1]", "write it once"}},
		"a status that is none":             {rule(`statuses: [99]`), ``, refusal{"spec.audit.lifecycle[0].statuses[0]", "for example 201"}},
		"a status twice":                    {rule(`statuses: [201, 201]`), ``, refusal{"spec.audit.lifecycle[0].statuses[1]", "write it once"}},
		"a database without a port":         {`audit: {sinks: [PostgreSQL]}`, strings.Replace(bare(`}`), "p:5432", "p", 1), refusal{"sidecarClass.spec.database.address", "postgres.platform.svc:5432"}},
		"a database without a name":         {`audit: {sinks: [PostgreSQL]}`, strings.Replace(bare(`}`), "name: postern,", "name: '',", 1), refusal{"sidecarClass.spec.database.name", "for example postern"}},
		"too many connections":              {`audit: {sinks: [PostgreSQL]}`, bare(`, maxConnections: 5}`), refusal{"sidecarClass.spec.database.maxConnections", "between 1 and 4"}},
		"a CA that is none":                 {`audit: {sinks: [PostgreSQL]}`, bare(`, tls: {caBundle: x}}`), refusal{"sidecarClass.spec.database.tls.caBundle", "BEGIN CERTIFICATE"}},
		"a CA for nothing":                  {`audit: {sinks: [PostgreSQL]}`, bare(`, tls: {mode: Disable, caBundle: x}}`), refusal{"sidecarClass.spec.database.tls", "write mode: VerifyFull"}},
		"no credentials":                    {`audit: {sinks: [PostgreSQL]}`, `database: {address: "p:1", name: postern}`, refusal{"sidecarClass.spec.database.credentials", "write either vault"}},
		"half of the credentials":           {`audit: {sinks: [PostgreSQL]}`, `database: {address: "p:1", name: postern, credentials: {userRef: {secretKeyRef: {name: s, key: k}}}}`, refusal{"sidecarClass.spec.database.credentials", "write either vault"}},
		"credentials in the KV engine":      {`audit: {sinks: [PostgreSQL]}`, strings.Replace(classOfIssue, "database/creds/postern-audit", "secret/postern", 1), refusal{"sidecarClass.spec.database.credentials.vault.path", "database/creds/postern-audit"}},
		"a way that is none":                {`audit: {sinks: [PostgreSQL]}`, bare(`, via: Kafka}`), refusal{"sidecarClass.spec.database.via", "RedisStream"}},
		"a small spool":                     {`audit: {}`, `audit: {spool: {maxBytes: 64KiB}}`, refusal{"sidecarClass.spec.audit.spool.maxBytes", "between 1MiB and 256MiB"}},
		"a spool larger than the memory":    {`audit: {}`, `audit: {spool: {maxBytes: 512MiB}}`, refusal{"sidecarClass.spec.audit.spool.maxBytes", "between 1MiB and 256MiB"}},
		"a checkpoint each day":             {`audit: {}`, `audit: {checkpointInterval: 24h}`, refusal{"sidecarClass.spec.audit.checkpointInterval", "between 1s and 1h"}},
		"a key in two places":               {`audit: {}`, `audit: {keyRef: {}}`, refusal{"sidecarClass.spec.audit.keyRef", "exactly one"}},
		"a signing key that is none":        {`audit: {}`, `{vault: {address: "https://v", auth: {kubernetes: {role: r}}}, audit: {signingKey: {vaultTransit: {key: a/b}}}}`, refusal{"sidecarClass.spec.audit.signingKey.vaultTransit.key", "name of a Transit key"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, findings := audited(t, tt.spec, tt.class)
			var errs []compile.Finding
			for _, f := range findings {
				if f.Severity == compile.Error {
					errs = append(errs, f)
				}
			}
			if p != nil || len(errs) != 1 || errs[0].Field != tt.want.field || !strings.Contains(errs[0].Message, tt.want.write) {
				t.Errorf("document %t, errors %v; want one of %s with %q", p != nil, errs, tt.want.field, tt.want.write)
			}
		})
	}
}

// names returns n names of fields.
func names(n int) string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("f%d", i))
	}
	return strings.Join(out, ", ")
}

func TestAuditWarnings(t *testing.T) {
	rules := func(list ...string) string { return `audit: {lifecycle: [` + strings.Join(list, ", ") + `]}` }
	const user = `resource: user, action: UPDATE, match: [{paths: ["/users/*"]}]`
	tests := map[string]struct {
		spec, class string
		// wantField is empty for no warning.
		wantField, want string
	}{
		"a rule behind its double":         {rules(`{`+user+`}`, `{resource: account, action: UPDATE, match: [{methods: [PATCH], paths: [/users/me]}]}`), ``, "spec.audit.lifecycle[1]", "lifecycle[0] before it matches all"},
		"a rule behind two":                {rules(`{resource: a, action: UPDATE, match: [{methods: [PUT], paths: [/a]}]}`, `{resource: b, action: UPDATE, match: [{methods: [PATCH], paths: [/a]}]}`, `{resource: c, action: UPDATE, match: [{paths: [/a]}]}`), ``, "spec.audit.lifecycle[2]", "lifecycle[0], lifecycle[1] before it match all"},
		"a wider rule behind":              {rules(`{resource: me, action: UPDATE, match: [{paths: [/users/me]}]}`, `{`+user+`}`), ``, "", ""},
		"another method":                   {rules(`{`+user+`}`, `{resource: user, action: DELETE, match: [{paths: ["/users/*"]}]}`), ``, "", ""},
		"another status":                   {rules(`{resource: user, action: CREATE, match: [{methods: [PUT], paths: ["/users/*"]}], statuses: [201]}`, `{`+user+`, statuses: [200, 204]}`), ``, "", ""},
		"a status of many":                 {rules(`{`+user+`, statuses: [200, 204]}`, `{`+user+`, statuses: [204]}`), ``, "spec.audit.lifecycle[1]", "never applies"},
		"some status behind 2xx":           {rules(`{`+user+`}`, `{`+user+`, statuses: [204]}`), ``, "spec.audit.lifecycle[1]", "never applies"},
		"a redirect behind 2xx":            {rules(`{`+user+`}`, `{`+user+`, statuses: [200, 303]}`), ``, "", ""},
		"2xx behind one status":            {rules(`{`+user+`, statuses: [200]}`, `{`+user+`}`), ``, "", ""},
		"a password in the trail":          {rules(`{` + user + `, changes: {requestJSON: [name, credentials.newPassword]}}`), ``, "spec.audit.lifecycle[0].changes.requestJSON[1]", "add it to redact"},
		"a password that is withheld":      {rules(`{` + user + `, changes: {requestJSON: [name, password], redact: [password]}}`), ``, "", ""},
		"a placeholder in a path":          {rules(`{resource: user, action: UPDATE, match: [{paths: ["/users/{id}"]}]}`), ``, "spec.audit.lifecycle[0].match[0].paths[0]", `"/users/*"`},
		"a method that nobody sends":       {rules(`{resource: user, action: UPDATE, match: [{methods: [PTACH], paths: [/users]}]}`), ``, "spec.audit.lifecycle[0].match[0].methods[0]", "PATCH"},
		"a table without signatures":       {`audit: {sinks: [PostgreSQL]}`, strings.Split(classOfIssue, "audit: {")[0], "sidecarClass.spec.audit", "add keyRef"},
		"a database in clear text":         {`audit: {sinks: [PostgreSQL]}`, strings.Replace(classOfIssue, "VerifyFull", "Disable", 1), "sidecarClass.spec.database.tls", "write mode: VerifyFull"},
		"events of the app without rules":  {`audit: {events: [Lifecycle]}`, ``, "", ""},
		"a trail in the log without a key": {`audit: {}`, `{}`, "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, findings := audited(t, tt.spec, tt.class)
			if p == nil {
				t.Fatalf("no document: %v", findings)
			}
			if tt.wantField == "" {
				if len(findings) > 0 {
					t.Errorf("findings: %v", findings)
				}
				return
			}
			if len(findings) != 1 || findings[0].Severity != compile.Warning || findings[0].Field != tt.wantField || !strings.Contains(findings[0].Message, tt.want) {
				t.Errorf("findings: %v; want %s with %q", findings, tt.wantField, tt.want)
			}
		})
	}
}
