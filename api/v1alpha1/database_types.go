package v1alpha1

// Database is a PostgreSQL database, version 15 or later.
//
// +kubebuilder:validation:XValidation:rule="has(self.credentials) || has(self.via) && self.via == 'RedisStream'",message="via Direct needs credentials: write credentials: {vault: {path: database/creds/postern-audit}}, or userRef and passwordRef"
type Database struct {
	// Address of the server, or of PgBouncer before it, as host:port.
	// +kubebuilder:validation:MaxLength=260
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^([A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}$")`,message="not an address: write host:port, such as postgres.platform.svc:5432 or [2001:db8::1]:5432"
	Address string `json:"address"`
	// Name of the database.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// Credentials of a role that may only insert into the audit trail; docs/audit-database.md has the SQL. With via: RedisStream sidecars have no
	// credentials: those of the writer are values of the chart.
	// +optional
	Credentials *DatabaseCredentials `json:"credentials,omitempty"`
	// Via is how records get to the database. With Direct each sidecar connects to it, which suits some dozens of pods. With RedisStream
	// sidecars append to a stream of the class's Redis, and the audit writer of the chart inserts what is in it.
	// +optional
	Via DatabaseVia `json:"via,omitempty"`
	// TLS says how the server is verified. If it is unset, its certificate must be valid for the host of address.
	// +optional
	TLS *DatabaseTLS `json:"tls,omitempty"`
	// MaxConnections bounds the connections of one sidecar.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4
	MaxConnections int32 `json:"maxConnections,omitempty"`
}

// DatabaseVia is how records get to the database.
// +kubebuilder:validation:Enum=Direct;RedisStream
type DatabaseVia string

const (
	// ViaDirect is a connection of each sidecar.
	ViaDirect DatabaseVia = "Direct"
	// ViaRedisStream is a stream in Redis, and the audit writer.
	ViaRedisStream DatabaseVia = "RedisStream"
)

// DatabaseCredentials are the name and the password of a database role: vault, or userRef and passwordRef.
//
// +kubebuilder:validation:XValidation:rule="has(self.vault) ? !has(self.userRef) && !has(self.passwordRef) : has(self.userRef) && has(self.passwordRef)",message="write either vault, or userRef and passwordRef: such as vault: {path: database/creds/postern-audit}"
type DatabaseCredentials struct {
	// Vault makes a role for each sidecar with its database engine. Its lease is renewed, and the role replaced, while the sidecar runs.
	// +optional
	Vault *DatabaseVault `json:"vault,omitempty"`
	// UserRef selects the name of the role.
	// +optional
	UserRef *SecretRef `json:"userRef,omitempty"`
	// PasswordRef selects the password of the role. A changed one is used for new connections, without a restart.
	// +optional
	PasswordRef *SecretRef `json:"passwordRef,omitempty"`
}

// DatabaseVault is a role of Vault's database engine.
type DatabaseVault struct {
	// Path of the role's credentials, with the mount of the engine, such as database/creds/postern-audit.
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[A-Za-z0-9_.@:=+-]+(/[A-Za-z0-9_.@:=+-]+)*/(static-)?creds/[A-Za-z0-9_.@:=+-]+$")`,message="not the path of credentials in Vault's database engine: write the mount, creds and the role, such as database/creds/postern-audit"
	Path string `json:"path"`
}

// DatabaseTLSMode is how the server is verified.
// +kubebuilder:validation:Enum=Disable;VerifyFull
type DatabaseTLSMode string

const (
	// DatabaseTLSDisable does not encrypt the connection.
	DatabaseTLSDisable DatabaseTLSMode = "Disable"
	// DatabaseTLSVerifyFull verifies the certificate and the name in it.
	DatabaseTLSVerifyFull DatabaseTLSMode = "VerifyFull"
)

// DatabaseTLS says how the server is verified.
//
// +kubebuilder:validation:XValidation:rule="!has(self.mode) || self.mode != 'Disable' || !has(self.caBundle) && !has(self.serverName)",message="caBundle and serverName have no effect with mode Disable: write mode: VerifyFull, or remove them"
type DatabaseTLS struct {
	// Mode: VerifyFull verifies the certificate and the name in it. Disable does not encrypt the connection: anyone on the network can
	// read the records and the password.
	// +optional
	Mode DatabaseTLSMode `json:"mode,omitempty"`
	// CABundle contains the CA certificates, in PEM, that verify the server, in place of the system's.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	CABundle string `json:"caBundle,omitempty"`
	// ServerName is the name in the certificate of the server.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ServerName string `json:"serverName,omitempty"`
}

// AuditOptions are the keys of the audit trail, and where records wait for their sinks.
type AuditOptions struct {
	// KeyRef selects the master key of the trail, of at least 32 random bytes. Pseudonyms, the keys of subjects and the key that signs
	// checkpoints are derived from it. A Secret must exist in the namespace of every workload. Keep a copy: without the key nothing that
	// is encrypted can be read, and a new key gives other pseudonyms.
	// +optional
	KeyRef *SecretRef `json:"keyRef,omitempty"`
	// SigningKey signs the checkpoints, in place of a key that is derived from keyRef.
	// +optional
	SigningKey *AuditSigningKey `json:"signingKey,omitempty"`
	// Spool is where records wait for their sinks.
	// +optional
	Spool *AuditSpool `json:"spool,omitempty"`
	// CheckpointInterval is the time between two checkpoints. A checkpoint says, with a signature, how many records there are and what
	// they are. What was written after the last one can be removed unnoticed.
	// +optional
	// +kubebuilder:validation:XValidation:rule="(duration(self) >= duration('1s') && duration(self) <= duration('1h')) || !self.matches('^([0-9]{1,9}(ms|s|m|h))+$')",message="checkpointInterval is not between 1s and 1h: write a duration such as 1m"
	CheckpointInterval Duration `json:"checkpointInterval,omitempty"`
}

// AuditSigningKey is a key that signs checkpoints.
type AuditSigningKey struct {
	// VaultTransit is an ed25519 key of the class's Vault. It never leaves Vault.
	VaultTransit TransitKey `json:"vaultTransit"`
}

// AuditSpool is where records wait for their sinks.
type AuditSpool struct {
	// MaxBytes bounds the records that wait in one sidecar. When they reach it, audit.onFailure of the policy applies. With storage Memory
	// it is a part of the memory that the sidecar uses: raise the memory limit with it.
	// +optional
	MaxBytes Size `json:"maxBytes,omitempty"`
	// Storage of the records. With Memory they are lost when the sidecar ends while a sink is unavailable. With EmptyDir they are on a
	// volume of the pod that survives a restart of the container, and are lost with the pod. A change applies to pods that are created
	// afterwards.
	// +optional
	Storage SpoolStorage `json:"storage,omitempty"`
}

// SpoolStorage is where records wait.
// +kubebuilder:validation:Enum=Memory;EmptyDir
type SpoolStorage string

const (
	// SpoolMemory is the memory of the sidecar.
	SpoolMemory SpoolStorage = "Memory"
	// SpoolEmptyDir is an emptyDir volume of the pod.
	SpoolEmptyDir SpoolStorage = "EmptyDir"
)

// Defaults of Database and AuditOptions.
const (
	DefaultDatabaseVia                 = ViaDirect
	DefaultDatabaseTLS                 = DatabaseTLSVerifyFull
	DefaultMaxConnections     int32    = 2
	DefaultSpoolSize          Size     = "16MiB"
	DefaultSpoolStorage                = SpoolMemory
	DefaultCheckpointInterval Duration = "1m"
)

func (d *Database) setDefaults() {
	set(&d.Via, DefaultDatabaseVia)
	set(&ensure(&d.TLS).Mode, DefaultDatabaseTLS)
	set(&d.MaxConnections, DefaultMaxConnections)
}

func (o *AuditOptions) setDefaults() {
	spool := ensure(&o.Spool)
	set(&spool.MaxBytes, DefaultSpoolSize)
	set(&spool.Storage, DefaultSpoolStorage)
	set(&o.CheckpointInterval, DefaultCheckpointInterval)
	if o.SigningKey != nil {
		set(&o.SigningKey.VaultTransit.Mount, DefaultTransitMount)
	}
}
