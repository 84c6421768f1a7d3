package v1alpha1

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/posterndev/postern/api/compiled"
)

// The CRDs have no defaults: the API server stores a spec as it was written, so that GitOps tools see no difference in lists and
// an unset field stays visible. The operator fills in the defaults when it compiles a policy, and this file has all of them.

// Default is what applies if a field is unset.
//
// +kubebuilder:object:generate=false
type Default struct {
	// Field is the kind and the path: "SecurityPolicy.spec.jwt.providers[].leeway".
	Field string
	// Value is the default as a manifest has it. It is empty if the default depends on something else.
	Value string
	// Text describes a default that is not one fixed value. Exactly one of Value and Text is set.
	Text string
}

// Defaults of fields of a SecurityPolicy.
const (
	DefaultMode            = ModeEnforce
	DefaultRollout         = RolloutManual
	DefaultProtocol        = ProtocolHTTP
	DefaultUndeclaredPorts = FailDeny
	DefaultUpstream        = UpstreamAuto
	DefaultPathHandling    = PathReject
	DefaultEmptySegments   = EmptySegmentsKeep

	DefaultTLSVersion               = TLS12
	DefaultTLSRedirectPort    int32 = 443
	DefaultPKIMount                 = "pki"
	DefaultClientCertificates       = ClientCertificatesOptional
	DefaultUpstreamServerName       = "localhost"

	DefaultLeeway          Duration = "30s"
	DefaultRefreshInterval Duration = "5m"
	DefaultKeysMaxStale    Duration = "24h"
	DefaultProofMode                = ProofOptional
	DefaultProofMaxAge     Duration = "1m"
	DefaultProofOnFailure           = FailDeny
	DefaultXFCCFromProxies          = XFCCForward

	DefaultAlgorithm       Algorithm = "ES256"
	DefaultAccessLifetime  Duration  = "15m"
	DefaultRefreshLifetime Duration  = "168h"
	DefaultRefreshGrace    Duration  = "10s"
	DefaultFormat                    = FormatAuto
	DefaultSubjectClaim              = "sub"
	DefaultFieldEncoding             = FieldEncodingUTF8
	DefaultDelivery                  = DeliverBody
	DefaultSameSite                  = "Lax"
	DefaultRenewal                   = RenewalAutomatic
	DefaultTransitMount              = "transit"
	DefaultRotationOverlap Duration  = "1h"
	DefaultPrefix                    = "/auth"
	DefaultClearSiteData             = ClearCache
	DefaultCacheControl              = CacheNoStore
	DefaultRequire                   = RequireAuthenticated
	DefaultLoginMethod               = http.MethodPost

	DefaultMaxStaleness        Duration = "5s"
	DefaultRevocationOnFailure          = FailDeny

	DefaultAbsoluteTimeout   Duration = "720h"
	DefaultMaxPerSubject     int32    = 256
	DefaultWhenFull                   = WhenFullEvict
	DefaultWhenMemoryFull             = WhenMemoryFullEvict
	DefaultBind                       = "None"
	DefaultSessionsOnFailure          = FailDeny

	DefaultLoginResponse            = LoginResponseSame
	DefaultLoginOnFailure           = FailDeny
	DefaultChallengeHeader          = "CF-Turnstile-Response"
	DefaultChallengeAfter  int32    = 2
	DefaultChallengeTime   Duration = "2s"
	DefaultAccountFailures int32    = 5
	DefaultAddressFailures int32    = 50
	DefaultGlobalFailures  int32    = 200
	DefaultDeviceFailures  int32    = 5
	DefaultLoginWithin     Duration = "15m"
	DefaultGlobalWithin    Duration = "5m"
	DefaultAccountLock     Duration = "1m"
	DefaultAddressLock     Duration = "5m"
	DefaultMaxLock         Duration = "1h"
	DefaultRememberDevice  Duration = "2160h"
	DefaultAccountResets   Rate     = "3/hour"
	DefaultAddressResets   Rate     = "10/hour"

	DefaultRateLimitKey             = KeyClientAddress
	DefaultRateLimitOnFailure       = FailAllow
	DefaultIPv6PrefixLength         = 64
	DefaultPreset                   = PresetStrict
	DefaultMinSize            Size  = "1KiB"
	DefaultHash                     = "Argon2id"
	DefaultArgon2Memory       Size  = "19MiB"
	DefaultArgon2Passes       int32 = 2
	DefaultArgon2Parallelism  int32 = 1
	DefaultBcryptCost         int32 = 12
	DefaultLongBcrypt               = LongBcryptRefuse
)

// Defaults of fields of a SidecarClass.
const (
	DefaultInterception             = InterceptRedirect
	DefaultLogLevel                 = "info"
	DefaultAccessLog                = "All"
	DefaultDrainTimeout    Duration = "25s"
	DefaultRequestIDHeader          = compiled.DefaultRequestIDHeader
	DefaultAccessLogRatio  Ratio    = "1"
	DefaultAccessLogForm            = AccessLogPostern
	DefaultOTLPProtocol             = OTLPGRPC
	DefaultSampleRatio     Ratio    = "0.1"
	DefaultOTLPTLSMode              = OTLPTLSVerifyFull
	DefaultRequestIDSource          = RequestIDTrustedProxies
	DefaultAPIKeyHeader             = "X-API-Key"
	DefaultConnectionIdle  Duration = "2m"
	DefaultMinBodyRate     int32    = compiled.DefaultMinBodyRate
	DefaultCPURequest               = "10m"
	DefaultMemoryRequest            = "32Mi"
	DefaultMemoryLimit              = "256Mi"
	// DefaultGuaranteedCPU is the sidecar's CPU in pods of the QoS class Guaranteed, if the class sets no limit.
	DefaultGuaranteedCPU           = "500m"
	DefaultRedisMode               = RedisStandalone
	DefaultRedisTimeout   Duration = "100ms"
	DefaultVaultTimeout   Duration = "5s"
	DefaultVaultPoll      Duration = "30s"
	DefaultVaultMaxStale  Duration = "24h"
	DefaultVaultMount              = "kubernetes"
	DefaultVaultAudience           = "vault"
	DefaultVaultRoleMount          = "approle"
)

// Defaults returns the default of every field that has one. The reference and the descriptions in the CRDs state them from here.
func Defaults() []Default {
	return slices.Concat(policyDefaults(), otherDefaults(), latest())
}

func policyDefaults() []Default {
	const spec = "SecurityPolicy.spec."
	return []Default{
		{Field: spec + "sidecarClassName", Text: "the class that is marked as default"},
		{Field: spec + "mode", Value: string(DefaultMode)},
		{Field: spec + "interception", Text: "the interception of the class"},
		{Field: spec + "rollout", Value: string(DefaultRollout)},
		{Field: spec + "ports", Text: "every TCP port that the pod's containers declare, as HTTP"},
		{Field: spec + "ports[].protocol", Value: string(DefaultProtocol)},
		{Field: spec + "undeclaredPorts", Value: string(DefaultUndeclaredPorts)},

		{Field: spec + "upstreamProtocol", Value: string(DefaultUpstream)},
		{Field: spec + "upstreamTLS.serverName", Value: DefaultUpstreamServerName},
		{Field: spec + "tls.minVersion", Value: strconv.Quote(string(DefaultTLSVersion))},
		{Field: spec + "tls.redirect.port", Value: number(DefaultTLSRedirectPort)},
		{Field: spec + "tls.certificates[].vault.pki.mount", Value: DefaultPKIMount},
		{Field: spec + "tls.certificates[].vault.pki.ttl", Text: "the ttl of the role"},
		{Field: spec + "tls.clientCertificates.mode", Value: string(DefaultClientCertificates)},
		{Field: spec + "tls.clientCertificates.identity", Text: "none: a certificate identifies nobody"},
		{Field: spec + "tls.clientCertificates.trustDomains", Text: "every trust domain of the CAs"},
		{Field: spec + "tls.clientCertificates.claimsToHeaders[].format", Value: string(DefaultFormat)},
		{Field: spec + "paths.encodedSlash", Value: string(DefaultPathHandling)},
		{Field: spec + "paths.semicolon", Value: string(DefaultPathHandling)},
		{Field: spec + "paths.backslash", Value: string(DefaultPathHandling)},
		{Field: spec + "paths.doubleEncoding", Value: string(DefaultPathHandling)},
		{Field: spec + "paths.emptySegments", Value: string(DefaultEmptySegments)},
		{Field: spec + "paths.routes[].encodedSlash", Text: "the value of paths.encodedSlash"},
		{Field: spec + "paths.routes[].semicolon", Text: "the value of paths.semicolon"},
		{Field: spec + "paths.routes[].backslash", Text: "the value of paths.backslash"},
		{Field: spec + "paths.routes[].doubleEncoding", Text: "the value of paths.doubleEncoding"},
		{Field: spec + "paths.routes[].emptySegments", Text: "the value of paths.emptySegments"},
		{Field: spec + "vaultRole", Text: "the role of the class"},

		{Field: spec + "loginProtection.routes[].kind", Value: string(LoginRouteLogin)},
		{Field: spec + "loginProtection.routes[].failure.statuses", Text: "401, 403 and 422, if failure is unset on a route of kind Login"},
		{Field: spec + "loginProtection.perAccount.failures", Value: number(DefaultAccountFailures)},
		{Field: spec + "loginProtection.perAccount.within", Value: string(DefaultLoginWithin)},
		{Field: spec + "loginProtection.perAccount.lockFor", Value: string(DefaultAccountLock)},
		{Field: spec + "loginProtection.perAccount.maxLock", Value: string(DefaultMaxLock)},
		{Field: spec + "loginProtection.perAddress.failures", Value: number(DefaultAddressFailures)},
		{Field: spec + "loginProtection.perAddress.within", Value: string(DefaultLoginWithin)},
		{Field: spec + "loginProtection.perAddress.lockFor", Value: string(DefaultAddressLock)},
		{Field: spec + "loginProtection.perAddress.maxLock", Value: string(DefaultMaxLock)},
		{Field: spec + "loginProtection.global.failures", Value: number(DefaultGlobalFailures)},
		{Field: spec + "loginProtection.global.within", Value: string(DefaultGlobalWithin)},
		{Field: spec + "loginProtection.resets.perAccount", Value: string(DefaultAccountResets)},
		{Field: spec + "loginProtection.resets.perAddress", Value: string(DefaultAddressResets)},
		{Field: spec + "loginProtection.knownDevices.failures", Value: number(DefaultDeviceFailures)},
		{Field: spec + "loginProtection.knownDevices.rememberFor", Value: string(DefaultRememberDevice)},
		{Field: spec + "loginProtection.challenge.header", Value: DefaultChallengeHeader},
		{Field: spec + "loginProtection.challenge.afterFailures", Value: number(DefaultChallengeAfter)},
		{Field: spec + "loginProtection.challenge.timeout", Value: string(DefaultChallengeTime)},
		{Field: spec + "loginProtection.challenge.onFailure", Value: string(FailDeny)},
		{Field: spec + "loginProtection.breachedPasswords.timeout", Value: string(DefaultBreachedTimeout)},
		{Field: spec + "loginProtection.breachedPasswords.minCount", Value: number(DefaultBreachedMinCount)},
		{Field: spec + "loginProtection.breachedPasswords.onFailure", Text: string(DefaultBreachedOnFailure) + ", the only value here"},
		{Field: spec + "loginProtection.response", Value: string(DefaultLoginResponse)},
		{Field: spec + "loginProtection.onFailure", Value: string(DefaultLoginOnFailure)},
		{Field: spec + "loginProtection.mode", Value: string(DefaultMode)},
		{Field: spec + "jwt.providers[].from", Text: "the Authorization header with the Bearer scheme"},
		{Field: spec + "jwt.providers[].tokenTypes", Text: "JWT, at+jwt and application/at+jwt, and tokens without typ"},
		{Field: spec + "jwt.providers[].claimsToHeaders[].format", Value: string(DefaultFormat)},
		{Field: spec + "jwt.providers[].legacy.subjectClaim", Value: DefaultSubjectClaim},
		{Field: spec + "jwt.providers[].legacy.shortSecret", Value: string(FailDeny)},
		{Field: spec + "jwt.providers[].leeway", Value: string(DefaultLeeway)},
		{Field: spec + "jwt.providers[].jwks.refreshInterval", Text: string(DefaultRefreshInterval) + ", with uri"},
		{Field: spec + "jwt.providers[].jwks.maxStale", Text: string(DefaultKeysMaxStale) + ", with uri"},
		{Field: spec + "jwt.providers[].jwks.bearerToken.serviceAccount.audience", Text: "the audience of the Kubernetes API"},
		{Field: spec + "jwt.providers[].backChannelLogout.clientIDs", Text: "the provider's audiences"},
		{Field: spec + "jwt.providers[].proofOfPossession.mode", Value: string(DefaultProofMode)},
		{Field: spec + "jwt.providers[].proofOfPossession.methods", Text: "DPoP, and mTLS if the sidecar sees the certificates of clients"},
		{Field: spec + "jwt.providers[].proofOfPossession.dpop.algorithms", Text: "all of them"},
		{Field: spec + "jwt.providers[].proofOfPossession.dpop.maxAge", Value: string(DefaultProofMaxAge)},
		{Field: spec + "jwt.providers[].proofOfPossession.dpop.onFailure", Value: string(DefaultProofOnFailure)},
		{Field: spec + "forwardClientCert.fromProxies", Value: string(DefaultXFCCFromProxies)},

		{Field: spec + "tokens.algorithm", Value: string(DefaultAlgorithm)},
		{Field: spec + "tokens.accessLifetime", Value: string(DefaultAccessLifetime)},
		{Field: spec + "tokens.refreshLifetime", Value: string(DefaultRefreshLifetime)},
		{Field: spec + "tokens.refreshGrace", Value: string(DefaultRefreshGrace)},
		{Field: spec + "tokens.fieldEncoding", Value: string(DefaultFieldEncoding)},
		{Field: spec + "tokens.claimsToHeaders[].format", Value: string(DefaultFormat)},
		{Field: spec + "tokens.delivery", Value: string(DefaultDelivery)},
		{Field: spec + "tokens.cookie.sameSite", Value: DefaultSameSite},
		{Field: spec + "tokens.cookie.renewal", Value: string(DefaultRenewal)},
		{Field: spec + "tokens.signingKey.transit.mount", Value: DefaultTransitMount},
		{Field: spec + "tokens.rotation.overlap", Value: string(DefaultRotationOverlap)},
		{Field: spec + "tokens.login[].methods", Value: "[" + DefaultLoginMethod + "]"},
		{Field: spec + "tokens.endpoints.prefix", Value: DefaultPrefix},
		{Field: spec + "tokens.endpoints.clearSiteData", Value: string(DefaultClearSiteData)},

		{Field: spec + "revocation.maxStaleness", Value: string(DefaultMaxStaleness)},
		{Field: spec + "revocation.onFailure", Value: string(DefaultRevocationOnFailure)},
		{Field: spec + "revocation.mode", Value: string(DefaultMode)},

		{Field: spec + "sessions.idleTimeout", Text: "tokens.refreshLifetime or absoluteTimeout, whichever is shorter"},
		{Field: spec + "sessions.absoluteTimeout", Value: string(DefaultAbsoluteTimeout)},
		{Field: spec + "sessions.maxPerSubject", Value: number(DefaultMaxPerSubject)},
		{Field: spec + "sessions.whenFull", Value: string(DefaultWhenFull)},
		{Field: spec + "sessions.whenMemoryFull", Value: string(DefaultWhenMemoryFull)},
		{Field: spec + "sessions.device.bind", Value: DefaultBind},
		{Field: spec + "sessions.onFailure", Value: string(DefaultSessionsOnFailure)},
		{Field: spec + "sessions.mode", Value: string(DefaultMode)},

		{Field: spec + "apiKeys.from", Text: "[{header: " + DefaultAPIKeyHeader + "}] if there is a keysRef"},
		{Field: spec + "apiKeys.claimsToHeaders[].format", Value: string(DefaultFormat)},
		{Field: spec + "apiKeys.mode", Value: string(DefaultMode)},

		{Field: spec + "authorization.default", Text: "Authenticated if the policy has jwt, tokens, apiKeys or tls.clientCertificates.identity, otherwise Anonymous"},
		{Field: spec + "authorization.mode", Value: string(DefaultMode)},
		{Field: spec + "authorization.cacheControl", Value: string(DefaultCacheControl)},
		{Field: spec + "authorization.rules[].require", Value: string(DefaultRequire)},
		{Field: spec + "authorization.rules[].mode", Value: string(DefaultMode)},

		{Field: spec + "rateLimits[].burst", Text: "the number of requests in limit"},
		{Field: spec + "rateLimits[].limitByClaim.values[].burst", Text: "the number of requests in limit"},
		{Field: spec + "rateLimits[].ipv6PrefixLength", Value: number(DefaultIPv6PrefixLength)},
		{Field: spec + "rateLimits[].keyBy", Value: "[{type: " + string(DefaultRateLimitKey) + "}]"},
		{Field: spec + "rateLimits[].mode", Value: string(DefaultMode)},
		{Field: spec + "rateLimits[].onFailure", Value: string(DefaultRateLimitOnFailure)},

		{Field: spec + "headers.preset", Value: string(DefaultPreset)},
		{Field: spec + "compression.minSize", Value: string(DefaultMinSize)},
		{Field: spec + "compression.types", Text: "the common text types, JSON, JavaScript, XML and SVG"},
		{Field: spec + "passwordPolicy.mode", Value: string(DefaultMode)},
		{Field: spec + "passwordPolicy.rules.minLength", Text: number(DefaultPasswordMinLength) + ", or " + number(DefaultPasswordMinSecondFactor) + " with secondFactor"},
		{Field: spec + "passwordPolicy.rules.maxLength", Value: number(DefaultPasswordMaxLength)},
		{Field: spec + "passwordPolicy.rules.blocklist", Value: string(DefaultPasswordBlocklist)},
		{Field: spec + "passwordPolicy.rules.breachedPasswords.timeout", Value: string(DefaultBreachedTimeout)},
		{Field: spec + "passwordPolicy.rules.breachedPasswords.minCount", Value: number(DefaultBreachedMinCount)},
		{Field: spec + "passwordPolicy.rules.breachedPasswords.onFailure", Value: string(DefaultBreachedOnFailure)},
		{Field: spec + "passwordPolicy.onFailure", Value: string(DefaultHistoryOnFailure)},
		{Field: spec + "passwordPolicy.rules.accountClaim", Value: DefaultAccountClaim},
		{Field: spec + "passwordPolicy.routes[].match[].methods", Value: "[" + DefaultPasswordMethod + "]"},
		{Field: spec + "passwordPolicy.longBcryptPasswords", Value: string(DefaultLongBcrypt)},
		{Field: spec + "passwordPolicy.hash.algorithm", Value: DefaultHash},
		{Field: spec + "passwordPolicy.hash.argon2id.memory", Value: string(DefaultArgon2Memory)},
		{Field: spec + "passwordPolicy.hash.argon2id.passes", Value: number(DefaultArgon2Passes)},
		{Field: spec + "passwordPolicy.hash.argon2id.parallelism", Value: number(DefaultArgon2Parallelism)},
		{Field: spec + "passwordPolicy.hash.bcrypt.cost", Value: number(DefaultBcryptCost)},

		{Field: spec + "audit.events", Text: "all of them"},
		{Field: spec + "audit.lifecycle[].match[].methods", Text: "POST for CREATE, PUT and PATCH for UPDATE, DELETE for DELETE"},
		{Field: spec + "audit.lifecycle[].statuses", Text: "every 2xx status"},
		{Field: spec + "audit.sinks", Value: "[" + string(DefaultAuditSink) + "]"},
		{Field: spec + "audit.format", Value: string(DefaultAuditFormat)},
		{Field: spec + "audit.retain", Text: string(DefaultRetain) + ", with the sink PostgreSQL"},
		{Field: spec + "audit.onFailure", Value: string(DefaultAuditOnFailure)},
		{Field: spec + "audit.mode", Value: string(DefaultMode)},
	}
}

func otherDefaults() []Default {
	const spec = "SidecarClass.spec."
	return []Default{
		{Field: spec + "image", Text: "the image that the operator was installed with"},
		{Field: spec + "imagePullPolicy", Text: "the policy that the operator was installed with"},
		{Field: spec + "resources", Text: "requests of " + DefaultCPURequest + " CPU and " + DefaultMemoryRequest + " memory, and a limit of " +
			DefaultMemoryLimit + " memory. In a pod of the QoS class Guaranteed the limit is also the request, and the CPU limit " + DefaultGuaranteedCPU},
		{Field: spec + "interception", Value: string(DefaultInterception)},
		{Field: spec + "logLevel", Value: DefaultLogLevel},
		{Field: spec + "accessLog", Value: DefaultAccessLog},
		{Field: spec + "accessLogOptions.sampleRatio", Value: string(DefaultAccessLogRatio)},
		{Field: spec + "accessLogOptions.format", Value: string(DefaultAccessLogForm)},
		{Field: spec + "requestID.header", Value: DefaultRequestIDHeader},
		{Field: spec + "requestID.fromClients", Value: string(DefaultRequestIDSource)},
		{Field: spec + "telemetry.otlp.protocol", Value: string(DefaultOTLPProtocol)},
		{Field: spec + "telemetry.otlp.sampleRatio", Value: string(DefaultSampleRatio)},
		{Field: spec + "telemetry.otlp.tls.mode", Value: string(DefaultOTLPTLSMode)},
		{Field: spec + "connections.max", Text: "as many as fit into the memory limit at 64 KiB each, between 64 and 10000"},
		{Field: spec + "connections.maxPerAddress", Text: "half of max"},
		{Field: spec + "connections.idleTimeout", Value: string(DefaultConnectionIdle)},
		{Field: spec + "drainTimeout", Value: string(DefaultDrainTimeout)},
		{Field: spec + "requests.max", Text: "as many as the memory allows; docs/security.md has the figures"},
		{Field: spec + "requests.maxPerAddress", Text: "half of max"},
		{Field: spec + "requests.minBodyRate", Value: number(DefaultMinBodyRate)},
		{Field: spec + "upgrades.max", Text: "as many as the memory allows; docs/security.md has the figures"},
		{Field: spec + "upgrades.maxPerAddress", Text: "half of max"},
		{Field: spec + "redis.mode", Value: string(DefaultRedisMode)},
		{Field: spec + "redis.timeout", Value: string(DefaultRedisTimeout)},
		{Field: spec + "redis.tls.serverName", Text: "the host of the address"},
		{Field: spec + "vault.namespace", Text: "the root namespace"},
		{Field: spec + "vault.timeout", Value: string(DefaultVaultTimeout)},
		{Field: spec + "vault.pollInterval", Value: string(DefaultVaultPoll)},
		{Field: spec + "vault.maxStale", Value: string(DefaultVaultMaxStale)},
		{Field: spec + "vault.auth.kubernetes.mount", Value: DefaultVaultMount},
		{Field: spec + "vault.auth.kubernetes.audience", Value: DefaultVaultAudience},
		{Field: spec + "vault.auth.appRole.mount", Value: DefaultVaultRoleMount},

		{Field: spec + "database.via", Value: string(DefaultDatabaseVia)},
		{Field: spec + "database.tls.mode", Value: string(DefaultDatabaseTLS)},
		{Field: spec + "database.tls.serverName", Text: "the host of the address"},
		{Field: spec + "database.maxConnections", Value: number(DefaultMaxConnections)},
		{Field: spec + "audit.signingKey", Text: "a key that is derived from keyRef; without both there are no checkpoints"},
		{Field: spec + "audit.signingKey.vaultTransit.mount", Value: DefaultTransitMount},
		{Field: spec + "audit.spool.maxBytes", Value: string(DefaultSpoolSize)},
		{Field: spec + "audit.spool.storage", Value: string(DefaultSpoolStorage)},
		{Field: spec + "audit.checkpointInterval", Value: string(DefaultCheckpointInterval)},

		{Field: "TokenRevocation.spec.policyName", Text: "every policy of the namespace"},
		{Field: "TokenRevocation.spec.issuer", Text: "every issuer whose tokens a policy accepts"},
		{Field: "TokenRevocation.spec.issuedBefore", Text: "the time when this object was created"},
		{Field: "TokenRevocation.spec.expires", Text: "computed from the lifetimes that the policies allow, with 24h for providers without maxLifetime"},
	}
}

// latest are the defaults of the versions of all secrets in Vault.
func latest() []Default {
	var out []Default
	for _, ref := range []string{
		"SecurityPolicy.spec.jwt.providers[].jwks", "SecurityPolicy.spec.jwt.providers[].jwks.bearerToken", "SecurityPolicy.spec.tokens.signingKey", "SecurityPolicy.spec.apiKeys.keysRef", "SecurityPolicy.spec.apiKeys.usersRef", "SecurityPolicy.spec.tls.clientCertificates.caRef", "SecurityPolicy.spec.tls.clientCertificates.crlRef", "SecurityPolicy.spec.upstreamTLS.caRef", "SidecarClass.spec.redis.passwordRef",
		"SidecarClass.spec.redis.sentinelPasswordRef", "SidecarClass.spec.redis.tls.certificateRef", "SidecarClass.spec.redis.tls.keyRef",
		"SidecarClass.spec.database.credentials.userRef", "SidecarClass.spec.database.credentials.passwordRef", "SidecarClass.spec.audit.keyRef",
	} {
		out = append(out, Default{Field: ref + ".vault.version", Text: "the latest version"})
	}
	return out
}

func number(n int32) string { return strconv.Itoa(int(n)) }
