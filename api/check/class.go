package check

import (
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// Bounds of a class's times. A longer Redis timeout would hold a request for longer than a person waits.
const (
	minRedisTimeout = time.Millisecond
	maxRedisTimeout = 10 * time.Second
	minVaultPoll    = time.Second
)

// redis is of the SidecarClass.
func (c *checker) redis(r *compiled.Redis) {
	const field = "sidecarClass.spec.redis"
	if r == nil {
		return
	}
	c.add(field+".mode", oneOf(r.Mode, "Standalone", "Sentinel", "Cluster"))
	if len(r.Addresses) == 0 || r.Mode == "Standalone" && len(r.Addresses) > 1 {
		c.addf(field+".addresses", "mode %s has %d addresses; name one, and more only where the mode is Sentinel or Cluster", r.Mode, len(r.Addresses))
	}
	for i, address := range r.Addresses {
		c.add(at(field+".addresses", i), RedisAddress(address))
	}
	if (r.Mode == "Sentinel") != (r.MasterName != "") {
		c.addf(field+".masterName", "masterName goes with mode Sentinel, and is needed there")
	}
	if r.Database < 0 || r.Mode == "Cluster" && r.Database != 0 {
		c.addf(field+".database", "%d is not a database's number; a Redis Cluster has database 0 alone", r.Database)
	}
	if r.Username != "" && r.Password == nil {
		c.addf(field+".username", "username needs passwordRef: Redis asks for both")
	}
	if r.Mode != "Sentinel" && r.SentinelPassword != nil {
		c.addf(field+".sentinelPasswordRef", "sentinelPasswordRef goes with mode Sentinel; leave it out")
	}
	c.secret(field+".passwordRef", r.Password)
	c.secret(field+".sentinelPasswordRef", r.SentinelPassword)
	c.redisTLS(field+".tls", r.TLS)
	if d := r.Timeout.Std(); d < minRedisTimeout || d > maxRedisTimeout {
		c.addf(field+".timeout", "%s is not between %s and %s", d, minRedisTimeout, maxRedisTimeout)
	}
}

func (c *checker) redisTLS(field string, t *compiled.RedisTLS) {
	if t == nil {
		return
	}
	_, err := Certificates([]byte(t.CABundle))
	c.add(field+".caBundle", err)
	if (t.Certificate == nil) != (t.Key == nil) {
		c.addf(field, "certificateRef and keyRef go together; name both, or neither")
	}
	c.secret(field+".certificateRef", t.Certificate)
	c.secret(field+".keyRef", t.Key)
}

// vault is of the SidecarClass.
func (c *checker) vault(p *compiled.Policy) {
	const field = "sidecarClass.spec.vault"
	v := p.Vault
	if v == nil {
		if p.UsesVault() {
			c.addf("spec", "a secret or a signing key is in Vault, and the SidecarClass has no Vault: add spec.vault to the class")
		}
		return
	}
	c.add(field+".address", VaultAddress(v.Address))
	_, err := Certificates([]byte(v.CABundle))
	c.add(field+".caBundle", err)
	c.vaultAuth(field+".auth", v)
	if v.Timeout <= 0 {
		c.addf(field+".timeout", "%s is not positive; write a duration such as 5s", v.Timeout.Std())
	}
	if v.PollInterval.Std() < minVaultPoll {
		c.addf(field+".pollInterval", "%s is shorter than %s", v.PollInterval.Std(), minVaultPoll)
	}
	if v.MaxStale <= 0 {
		c.addf(field+".maxStale", "%s is not positive; write a duration such as 24h", v.MaxStale.Std())
	}
}

func (c *checker) vaultAuth(field string, v *compiled.Vault) {
	ways := 0
	for _, given := range []bool{v.Kubernetes != nil, v.AppRole != nil, v.TokenFile != ""} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		c.addf(field, "say exactly one of kubernetes, appRole and tokenFile")
	}
	if k := v.Kubernetes; k != nil {
		c.add(field+".kubernetes.mount", VaultPath(k.Mount))
		if k.Role == "" || k.Audience == "" {
			c.addf(field+".kubernetes.role", "name the role that sidecars log in with, here or in the policy's vaultRole")
		}
	}
	if a := v.AppRole; a != nil {
		c.add(field+".appRole.mount", VaultPath(a.Mount))
		if a.RoleID == "" {
			c.addf(field+".appRole.roleID", "name the role that sidecars log in with")
		}
		if id := a.SecretID; id != nil && id.VaultPath != "" {
			c.addf(field+".appRole.secretIDRef", "the secret ID cannot itself be in Vault; name a Secret")
		} else if id != nil {
			c.add(field+".appRole.secretIDRef.name", fileName(id.Name))
			c.add(field+".appRole.secretIDRef.key", fileName(id.Key))
		}
	}
}
