package check

import (
	"errors"
	"fmt"

	"github.com/posterndev/postern/api/compiled"
)

// head checks the fields that apply to the whole policy.
func (c *checker) head(p *compiled.Policy) {
	c.mode("spec.mode", p.Mode)
	c.onFailure("spec.undeclaredPorts", p.UndeclaredPorts)
	for i, port := range p.Ports {
		field := at("spec.ports", i)
		if (port.Number == 0) == (port.Name == "") {
			c.addf(field+".port", "write either a port number or the name of a container port, for example 8080 or http")
		}
		c.add(field+".protocol", oneOf(port.Protocol, compiled.HTTP, compiled.TCP))
	}
}

// sidecar checks a section of the SidecarClass.
func (c *checker) sidecar(s *compiled.SidecarOptions) {
	for i, cidr := range s.TrustedProxies {
		c.add(at("sidecarClass.spec.trustedProxies", i), CIDR(cidr))
	}
	if r := s.Requests; r != nil {
		c.open("sidecarClass.spec.requests", r.Max, r.MaxPerAddress)
		if rate := r.MinBodyRate; rate != nil && (*rate < 0 || *rate > maxBodyRate) {
			c.addf("sidecarClass.spec.requests.minBodyRate", "%d is not between 0 and %d bytes per second; write a number in that range, for example %d, or 0 for no minimum", *rate, maxBodyRate, compiled.DefaultMinBodyRate)
		}
	}
	if u := s.Upgrades; u != nil {
		c.open("sidecarClass.spec.upgrades", u.Max, u.MaxPerAddress)
	}
	c.connections(s.Connections)
	c.accessLog(s.AccessLogOptions)
	c.add("sidecarClass.spec.accessLog", oneOf(s.AccessLog, "All", "Errors", "None"))
	c.add("sidecarClass.spec.logLevel", oneOf(s.LogLevel, "debug", "info", "warn", "error"))
}

// Bounds of what a class says about open requests and WebSockets.
const (
	maxOpen     = 1000000
	maxBodyRate = 1 << 20
)

// open checks the bounds of what is open at the same time. 0 stands for the default.
func (c *checker) open(field string, most, perAddress int) {
	if most < 0 || most > maxOpen {
		c.addf(field+".max", "%d is not between 1 and %d; write a number in that range, for example 1000, or leave it out for what the memory allows", most, maxOpen)
	}
	switch {
	case perAddress < 0 || perAddress > maxOpen:
		c.addf(field+".maxPerAddress", "%d is not between 1 and %d; write a number in that range, for example 100, or leave it out for half of max", perAddress, maxOpen)
	case most > 0 && perAddress > most:
		c.addf(field+".maxPerAddress", "%d is greater than max (%d), so it would never apply; write a smaller number, or leave it out for half of max", perAddress, most)
	}
}

// matches checks the matches of one rule.
func (c *checker) matches(field string, matches []compiled.Match) {
	for i, m := range matches {
		for j, method := range m.Methods {
			c.add(at(at(field, i)+".methods", j), Method(method))
		}
		for j, path := range m.Paths {
			_, err := ParsePattern(path)
			c.add(at(at(field, i)+".paths", j), err)
		}
	}
}

// maxKeyParts is the maximum number of parts in a limit's key.
const maxKeyParts = 8

func (c *checker) rateLimits(limits []compiled.RateLimit) {
	seen := map[string]bool{}
	for i := range limits {
		l, field := &limits[i], at("spec.rateLimits", i)
		if seen[l.Name] {
			c.addf(field+".name", "another limit already has the name %.64q; write a unique name", l.Name)
		}
		seen[l.Name] = true
		c.add(field+".name", LimitName(l.Name))
		c.matches(field+".match", l.Match)
		c.rateOrInFlight(field, l)
		if len(l.KeyBy) == 0 || len(l.KeyBy) > maxKeyParts {
			c.addf(field+".keyBy", "it has %d parts; write 1 to %d, for example [{type: ClientAddress}]", len(l.KeyBy), maxKeyParts)
		}
		for j, k := range l.KeyBy {
			c.limitKey(at(field+".keyBy", j), k)
		}
		c.limitOptions(field, l)
		c.mode(field+".mode", l.Mode)
		c.onFailure(field+".onFailure", l.OnFailure)
	}
}

// LimitName refuses a name that does not fit in the string of a structured field (RFC 9651 §3.3.3).
func LimitName(name string) error {
	if name == "" || len(name) > 63 {
		return fmt.Errorf("the name has %d bytes; write 1 to 63, for example login", len(name))
	}
	for i := range len(name) {
		if name[i] < 0x20 || name[i] > 0x7e {
			return fmt.Errorf("the name %q is not printable ASCII; write letters, digits and hyphens, for example login", name)
		}
	}
	return nil
}

func (c *checker) limitKey(field string, k compiled.RateLimitKey) {
	switch k.Type {
	case compiled.KeyClaim:
		c.add(field+".name", Claim(k.Name))
	case compiled.KeyHeader:
		c.add(field+".name", FieldName(k.Name))
	case compiled.KeyClientAddress, compiled.KeySubject, compiled.KeyRoute:
		if k.Name != "" {
			c.addf(field+".name", "a key of type %s has no name; leave it out", k.Type)
		}
	default:
		c.add(field+".type", oneOf(k.Type, compiled.KeyClientAddress, compiled.KeySubject, compiled.KeyClaim, compiled.KeyHeader, compiled.KeyRoute))
	}
}

// CORS returns the problems of a policy's CORS section.
func CORS(r *compiled.CORS) []Problem {
	c := &checker{}
	c.cors(r)
	return c.problems
}

func (c *checker) cors(r *compiled.CORS) {
	if r == nil {
		return
	}
	if len(r.AllowOrigins) == 0 {
		c.addf("spec.cors.allowOrigins", "the list is empty; write at least one origin, for example https://app.example.com, or leave cors out")
	}
	for i, origin := range r.AllowOrigins {
		c.add(at("spec.cors.allowOrigins", i), CORSOrigin(origin, len(r.AllowOrigins) == 1, r.AllowCredentials))
	}
	for i, method := range r.AllowMethods {
		c.add(at("spec.cors.allowMethods", i), CORSMethod(method, r.AllowCredentials))
	}
	for i, name := range r.AllowHeaders {
		c.add(at("spec.cors.allowHeaders", i), CORSHeader(name, r.AllowCredentials))
	}
	for i, name := range r.ExposeHeaders {
		c.add(at("spec.cors.exposeHeaders", i), CORSHeader(name, r.AllowCredentials))
	}
	if r.MaxAge < 0 {
		c.addf("spec.cors.maxAge", "it is negative; write a duration, for example 10m")
	}
}

// MaxCompressionMinSize is the maximum of minSize, in bytes. Up to that much is buffered for each response.
const MaxCompressionMinSize = 1 << 20

func (c *checker) compression(r *compiled.Compression) {
	if r == nil {
		return
	}
	c.add("spec.compression.minSize", CompressionMinSize(r.MinSize))
	for i, t := range r.Types {
		c.add(at("spec.compression.types", i), MediaType(t))
	}
}

// CompressionMinSize refuses a size, in bytes, that is out of range.
func CompressionMinSize(size int) error {
	if size < 0 || size > MaxCompressionMinSize {
		return fmt.Errorf("%d bytes is not between 0 and %d; write a size of at most 1MiB, for example 1KiB", size, MaxCompressionMinSize)
	}
	return nil
}

func (c *checker) passwords(p *compiled.Passwords) {
	const field = "spec.passwordPolicy.hash"
	if p != nil {
		c.add("spec.passwordPolicy.longBcryptPasswords", oneOf(p.LongBcrypt, "", "Refuse", "Truncate"))
	}
	switch {
	case p == nil:
	case p.Algorithm == "Bcrypt":
		c.add(field+".bcrypt.cost", BcryptCost(p.Cost))
	case p.Algorithm == "Argon2id":
		c.add(field+".argon2id.passes", Argon2Passes(p.Passes))
		c.add(field+".argon2id.parallelism", Argon2Lanes(p.Parallelism))
		c.add(field+".argon2id.memory", Argon2Memory(p.Memory, p.Passes))
	default:
		c.add(field+".algorithm", oneOf(p.Algorithm, "Argon2id", "Bcrypt"))
	}
}

// errSecret is the problem of a reference without a secret.
var errSecret = errors.New("write either a Secret or a secret in Vault, for example secretKeyRef: {name: redis, key: password} or vault: {path: secret/shop/redis, key: password}")

// secret checks a reference; nil is no reference.
func (c *checker) secret(field string, ref *compiled.SecretRef) {
	switch {
	case ref == nil:
	case (ref.Name == "") == (ref.VaultPath == ""):
		c.add(field, errSecret)
	case ref.VaultPath != "":
		c.add(field+".vault.path", VaultSecretPath(ref.VaultPath))
		c.add(field+".vault.key", VaultKey(ref.Key))
		if ref.VaultVersion < 0 {
			c.addf(field+".vault.version", "the version is negative; write 1 or greater, or leave it out for the latest version")
		}
	default:
		c.add(field+".secretKeyRef.name", fileName(ref.Name))
		c.add(field+".secretKeyRef.key", fileName(ref.Key))
	}
}

// fileName refuses a name that leads out of the folder in which its Secret is mounted.
func fileName(name string) error {
	if name == "" || name == "." || name == ".." {
		return fmt.Errorf("%q is not the name or key of a Secret; write it as in the Secret, for example password", name)
	}
	for i := range len(name) {
		if name[i] == '/' || name[i] == 0 {
			return fmt.Errorf("%.64q is not the name or key of a Secret; write it without slashes, for example password", name)
		}
	}
	return nil
}
