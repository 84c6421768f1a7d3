package check

import (
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// Bounds of durations in a class. A longer Redis timeout would delay a request for longer than a person waits.
const (
	minRedisTimeout = time.Millisecond
	maxRedisTimeout = 10 * time.Second
	minVaultPoll    = time.Second
)

// redis checks a section of the SidecarClass.
func (c *checker) redis(r *compiled.Redis) {
	const field = "sidecarClass.spec.redis"
	if r == nil {
		return
	}
	c.add(field+".mode", oneOf(r.Mode, "Standalone", "Sentinel", "Cluster"))
	if len(r.Addresses) == 0 || r.Mode == "Standalone" && len(r.Addresses) > 1 {
		c.addf(field+".addresses", "mode %s has %d addresses; write one for Standalone, for example [redis.example.com:6379], and at least one for Sentinel or Cluster", r.Mode, len(r.Addresses))
	}
	for i, address := range r.Addresses {
		c.add(at(field+".addresses", i), RedisAddress(address))
	}
	if (r.Mode == "Sentinel") != (r.MasterName != "") {
		c.addf(field+".masterName", "masterName is required in mode Sentinel, and not allowed in any other mode; write it for Sentinel only, for example mymaster")
	}
	if r.Database < 0 || r.Mode == "Cluster" && r.Database != 0 {
		c.addf(field+".database", "%d is not a valid database number; write 0 or greater, and 0 in mode Cluster, which has no other database", r.Database)
	}
	if r.Username != "" && r.Password == nil {
		c.addf(field+".username", "username needs a password; add passwordRef, for example {secretKeyRef: {name: redis, key: password}}")
	}
	if r.Mode != "Sentinel" && r.SentinelPassword != nil {
		c.addf(field+".sentinelPasswordRef", "sentinelPasswordRef is for mode Sentinel only; leave it out")
	}
	c.secret(field+".passwordRef", r.Password)
	c.secret(field+".sentinelPasswordRef", r.SentinelPassword)
	c.redisTLS(field+".tls", r.TLS)
	if d := r.Timeout.Std(); d < minRedisTimeout || d > maxRedisTimeout {
		c.addf(field+".timeout", "%s is not between %s and %s; write a duration in that range, for example 250ms", d, minRedisTimeout, maxRedisTimeout)
	}
}

func (c *checker) redisTLS(field string, t *compiled.RedisTLS) {
	if t == nil {
		return
	}
	_, err := Certificates([]byte(t.CABundle))
	c.add(field+".caBundle", err)
	if (t.Certificate == nil) != (t.Key == nil) {
		c.addf(field, "a client certificate needs its key; write both certificateRef and keyRef, or neither")
	}
	c.secret(field+".certificateRef", t.Certificate)
	c.secret(field+".keyRef", t.Key)
}

// vault checks a section of the SidecarClass.
func (c *checker) vault(p *compiled.Policy) {
	const field = "sidecarClass.spec.vault"
	v := p.Vault
	if v == nil {
		if p.UsesVault() {
			c.addf("spec", "the policy reads a secret or a signing key from Vault, but the SidecarClass has no Vault; add spec.vault to the SidecarClass, for example with address: https://vault.example.com:8200")
		}
		return
	}
	c.add(field+".address", VaultAddress(v.Address))
	_, err := Certificates([]byte(v.CABundle))
	c.add(field+".caBundle", err)
	c.vaultAuth(field+".auth", v)
	if v.Timeout <= 0 {
		c.addf(field+".timeout", "%s is not positive; write a duration, for example 5s", v.Timeout.Std())
	}
	if v.PollInterval.Std() < minVaultPoll {
		c.addf(field+".pollInterval", "%s is shorter than %s; write a longer duration, for example 30s", v.PollInterval.Std(), minVaultPoll)
	}
	if v.MaxStale <= 0 {
		c.addf(field+".maxStale", "%s is not positive; write a duration, for example 24h", v.MaxStale.Std())
	}
}

func (c *checker) vaultAuth(field string, v *compiled.Vault) {
	methods := 0
	for _, given := range []bool{v.Kubernetes != nil, v.AppRole != nil, v.TokenFile != ""} {
		if given {
			methods++
		}
	}
	if methods != 1 {
		c.addf(field, "write exactly one of kubernetes, appRole and tokenFile, for example kubernetes: {role: postern}")
	}
	if k := v.Kubernetes; k != nil {
		c.add(field+".kubernetes.mount", VaultPath(k.Mount))
		if k.Role == "" || k.Audience == "" {
			c.addf(field+".kubernetes.role", "role or audience is missing; write the role that sidecars log in with, here or in the policy's vaultRole, for example postern")
		}
	}
	if a := v.AppRole; a != nil {
		c.add(field+".appRole.mount", VaultPath(a.Mount))
		if a.RoleID == "" {
			c.addf(field+".appRole.roleID", "it is empty; write the ID of the role that sidecars log in with")
		}
		if id := a.SecretID; id != nil && id.VaultPath != "" {
			c.addf(field+".appRole.secretIDRef", "the secret ID cannot be in Vault itself; write the name and key of a Secret, for example {name: vault-approle, key: secret-id}")
		} else if id != nil {
			c.add(field+".appRole.secretIDRef.name", fileName(id.Name))
			c.add(field+".appRole.secretIDRef.key", fileName(id.Key))
		}
	}
}
