package v1alpha1_test

import (
	"testing"

	"github.com/posterndev/postern/api/v1alpha1"
)

func audit(rest string) string { return `{selector: {}, audit: {` + rest + `}}` }

func lifecycle(rest string) string {
	return audit(`lifecycle: [{resource: user, action: UPDATE, match: [{paths: ["/users/*"]}], ` + rest + `}]`)
}

func database(rest string) string {
	return `{redis: {addresses: ["r:6379"]}, vault: {address: "https://v", auth: {kubernetes: {role: r}}}, database: {address: "p:5432", name: postern, ` + rest + `}}`
}

// audits are the cases of the audit trail.
var audits = map[string]validation{
	"the audit trail of the issue": {spec: audit(`events: [Authentication, Session, Authorization, RateLimit, Password, APIKey, Admin, Lifecycle],
      lifecycle: [{resource: user, action: CREATE, match: [{methods: [POST], paths: [/users]}], id: {responseJSON: id}, changes: {requestJSON: [name, email, role], redact: [email]}},
      {resource: user, action: UPDATE, match: [{methods: [PATCH], paths: ["/users/*"]}], id: {segment: 1}, changes: {requestJSON: [name, email, role]}}],
      sinks: [Log, PostgreSQL], pseudonymise: [ClientAddress], encryptPerSubject: [changes, user_agent], retain: 400d, onFailure: Deny`)},
	"an audit trail of defaults":    {spec: audit(``)},
	"an audit trail in OCSF":        {spec: audit(`sinks: [OTLP], format: OCSF`)},
	"an unknown category":           {spec: audit(`events: [Login]`), wantErr: `"Authentication", "Session"`},
	"a category twice":              {spec: audit(`events: [Admin, Admin]`), wantErr: "Duplicate value"},
	"no category":                   {spec: audit(`events: []`), wantErr: "should have at least 1 items"},
	"an unknown sink":               {spec: audit(`sinks: [Kafka]`), wantErr: `"Log", "PostgreSQL", "OTLP"`},
	"a sink twice":                  {spec: audit(`sinks: [Log, Log]`), wantErr: "Duplicate value"},
	"an unknown format":             {spec: audit(`format: CEF`), wantErr: `"Postern", "OCSF"`},
	"OCSF in PostgreSQL":            {spec: audit(`sinks: [PostgreSQL], format: OCSF`), wantErr: "add Log to sinks"},
	"an unknown pseudonym":          {spec: audit(`pseudonymise: [UserAgent]`), wantErr: `"ClientAddress", "Subject"`},
	"a subject that is encrypted":   {spec: audit(`sinks: [PostgreSQL], encryptPerSubject: [subject]`), wantErr: `"changes", "user_agent", "ip_address"`},
	"keys of subjects nowhere":      {spec: audit(`encryptPerSubject: [changes]`), wantErr: "add PostgreSQL to sinks"},
	"an address hidden twice":       {spec: audit(`sinks: [PostgreSQL], pseudonymise: [ClientAddress], encryptPerSubject: [ip_address]`), wantErr: "remove ClientAddress from pseudonymise"},
	"records kept in the log":       {spec: audit(`retain: 30d`), wantErr: "retain applies to the sink PostgreSQL only"},
	"records kept for ten years":    {spec: audit(`sinks: [PostgreSQL], retain: 3650d`)},
	"records kept for longer":       {spec: audit(`sinks: [PostgreSQL], retain: 3651d`), wantErr: "write one from 1d to 3650d"},
	"records kept for no time":      {spec: audit(`sinks: [PostgreSQL], retain: 0d`), wantErr: "write one from 1d to 3650d"},
	"records kept for hours":        {spec: audit(`sinks: [PostgreSQL], retain: 24h`), wantErr: "write one from 1d to 3650d"},
	"rules of lifecycle for no one": {spec: audit(`events: [Admin], lifecycle: [{resource: user, action: CREATE, match: [{}]}]`), wantErr: "add Lifecycle to events"},
	"a resource with a space":       {spec: audit(`lifecycle: [{resource: "a user", action: CREATE, match: [{}]}]`), wantErr: "not a kind of resource"},
	"an action that is none":        {spec: audit(`lifecycle: [{resource: user, action: READ, match: [{}]}]`), wantErr: `"CREATE", "UPDATE", "DELETE"`},
	"an action on no route":         {spec: audit(`lifecycle: [{resource: user, action: CREATE, match: []}]`), wantErr: "match"},
	"an id of two places":           {spec: lifecycle(`id: {segment: 1, responseJSON: id}`), wantErr: "set exactly one of responseJSON"},
	"an id of no place":             {spec: lifecycle(`id: {}`), wantErr: "set exactly one of responseJSON"},
	"an id in segment 0":            {spec: lifecycle(`id: {segment: 0}`)},
	"an id in an array":             {spec: lifecycle(`id: {responseJSON: "users[0]"}`), wantErr: "such as user.id"},
	"an id in a header":             {spec: lifecycle(`id: {responseHeader: X-User-ID}, statuses: [201, 303]`)},
	"an id in no header":            {spec: lifecycle(`id: {responseHeader: "X User"}`), wantErr: "such as X-User-ID"},
	"a status that is none":         {spec: lifecycle(`statuses: [99]`), wantErr: "should be greater than or equal to 200"},
	"a change that is none":         {spec: lifecycle(`changes: {requestJSON: ["a..b"]}`), wantErr: "such as user.id"},
	"a redaction of nothing":        {spec: lifecycle(`changes: {requestJSON: [name], redact: [email]}`), wantErr: "add it to requestJSON"},

	"the database of the issue":      {kind: "SidecarClass", spec: database(`credentials: {vault: {path: database/creds/postern-audit}}, via: Direct, tls: {mode: VerifyFull, caBundle: x}`)},
	"a database by Secret":           {kind: "SidecarClass", spec: database(`credentials: {userRef: {secretKeyRef: {name: s, key: u}}, passwordRef: {secretKeyRef: {name: s, key: p}}}, tls: {mode: Disable}, maxConnections: 4`)},
	"a database by a stream":         {kind: "SidecarClass", spec: database(`via: RedisStream`)},
	"a database without credentials": {kind: "SidecarClass", spec: database(`via: Direct`), wantErr: "via Direct needs credentials"},
	"a database with half of them":   {kind: "SidecarClass", spec: database(`credentials: {userRef: {secretKeyRef: {name: s, key: u}}}`), wantErr: "write either vault, or userRef and passwordRef"},
	"a database with two of them":    {kind: "SidecarClass", spec: database(`credentials: {vault: {path: database/creds/r}, userRef: {secretKeyRef: {name: s, key: u}}, passwordRef: {secretKeyRef: {name: s, key: u}}}`), wantErr: "write either vault, or userRef and passwordRef"},
	"a database of a KV secret":      {kind: "SidecarClass", spec: database(`credentials: {vault: {path: secret/postern}}`), wantErr: "write the mount, creds and the role"},
	"a database with a static role":  {kind: "SidecarClass", spec: database(`credentials: {vault: {path: team/database/static-creds/r}}`)},
	"a database of five connections": {kind: "SidecarClass", spec: database(`via: RedisStream, maxConnections: 5`), wantErr: "less than or equal to 4"},
	"a name for no certificate":      {kind: "SidecarClass", spec: database(`via: RedisStream, tls: {mode: Disable, serverName: p}`), wantErr: "no effect with mode Disable"},
	"a name for no collector":        {kind: "SidecarClass", spec: `{telemetry: {otlp: {endpoint: "otel:4317", tls: {mode: Disable, serverName: p}}}}`, wantErr: "no effect with mode Disable"},
	"a database without a port":      {kind: "SidecarClass", spec: `{database: {address: p, name: postern, credentials: {userRef: {secretKeyRef: {name: s, key: u}}, passwordRef: {secretKeyRef: {name: s, key: u}}}}}`, wantErr: "such as postgres.platform.svc:5432"},
	"a stream without a Redis":       {kind: "SidecarClass", spec: `{database: {address: "p:1", name: postern, via: RedisStream}}`, wantErr: "add redis, or write via: Direct"},
	"credentials without a Vault":    {kind: "SidecarClass", spec: `{database: {address: "p:1", name: postern, credentials: {vault: {path: database/creds/r}}}}`, wantErr: "add vault, or write userRef and passwordRef"},
	"a signing key without a Vault":  {kind: "SidecarClass", spec: `{audit: {signingKey: {vaultTransit: {key: k}}}}`, wantErr: "add vault, or use keyRef without signingKey"},
	"the keys of a trail":            {kind: "SidecarClass", spec: `{vault: {address: "https://v", auth: {kubernetes: {role: r}}}, audit: {keyRef: {secretKeyRef: {name: s, key: k}}, signingKey: {vaultTransit: {mount: transit, key: k}}, spool: {maxBytes: 1MiB, storage: EmptyDir}, checkpointInterval: 1s}}`},
	"a spool on a disk":              {kind: "SidecarClass", spec: `{audit: {spool: {storage: Disk}}}`, wantErr: `"Memory", "EmptyDir"`},
	"a spool of Mi":                  {kind: "SidecarClass", spec: `{audit: {spool: {maxBytes: 16Mi}}}`, wantErr: "such as 512, 64KiB or 2MiB"},
	"a checkpoint each day":          {kind: "SidecarClass", spec: `{audit: {checkpointInterval: 24h}}`, wantErr: "checkpointInterval is not between 1s and 1h"},
}

func TestDays(t *testing.T) {
	for text, want := range map[v1alpha1.Days]int{"": 0, "1d": 1, "400d": 400, "3650d": 3650} {
		if n, err := text.Number(); n != want || err != nil {
			t.Errorf("%q: %d, %v; want %d", text, n, err, want)
		}
	}
	for _, text := range []v1alpha1.Days{"d", "0d", "01d", "-1d", "+1d", "1", "24h", "1.5d", "1d ", "99999999999999999999d"} {
		if n, err := text.Number(); err == nil {
			t.Errorf("%q: %d; want an error", text, n)
		}
	}
}
