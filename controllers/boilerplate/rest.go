package boilerplate

import (
	"net/netip"
	"strings"
)

// notCarried are variables without a field, by their key, and why they have none.
var notCarried = []struct {
	why  string
	keys []string
}{
	{"it is the app's cost of hashes. The app keeps it, or hashes by the loopback API: spec.passwordPolicy.hash, Argon2id by default; old bcrypt hashes are verified", []string{
		"BCRYPT_ROUNDS", "BCRYPT_SALT_ROUNDS", "SALT_ROUNDS", "BCRYPT_LOG_ROUNDS", "BCRYPT_COST", "HASH_ROUNDS", "BCRYPT_STRENGTH", "PASSWORD_HASHERS"}},
	{"rules about the kinds of characters make passwords weaker, and NIST SP 800-63B-4 forbids them. passwordPolicy.rules has a length, a blocklist and a score", []string{
		"PASSWORD_REQUIRE_UPPERCASE", "PASSWORD_REQUIRE_LOWERCASE", "PASSWORD_REQUIRE_DIGIT", "PASSWORD_REQUIRE_DIGITS", "PASSWORD_REQUIRE_NUMBER", "PASSWORD_REQUIRE_NUMBERS",
		"PASSWORD_REQUIRE_SPECIAL", "PASSWORD_REQUIRE_SYMBOL", "PASSWORD_REQUIRE_SYMBOLS", "PASSWORD_REGEX", "PASSWORD_PATTERN", "PASSWORD_COMPLEXITY"}},
	{"it needs the routes that take new passwords, which the settings do not name: add passwordPolicy.rules (minLength is 15 by default) and passwordPolicy.routes", []string{
		"PASSWORD_MIN_LENGTH", "MIN_PASSWORD_LENGTH", "PASSWORD_MINLENGTH", "PASSWORD_MAX_LENGTH"}},
	{"NIST SP 800-63B-4 forbids changing passwords by the calendar", []string{"PASSWORD_EXPIRE_DAYS", "PASSWORD_MAX_AGE_DAYS", "PASSWORD_HISTORY"}},
	{"loginProtection has its own numbers, per account and per address: change perAccount.failures, within and lockFor", []string{
		"MAX_LOGIN_ATTEMPTS", "LOGIN_MAX_ATTEMPTS", "LOGIN_ATTEMPTS_LIMIT", "LOCKOUT_DURATION", "LOCKOUT_MINUTES", "ACCOUNT_LOCKOUT_DURATION", "AXES_FAILURE_LIMIT", "AXES_COOLOFF_TIME"}},
	{"sessions are not in cookies that the app signs; the app keeps it if it signs something else", []string{"SESSION_SECRET", "COOKIE_SECRET", "SESSION_SECRET_KEY"}},
	{"with delivery Cookie the sidecar checks the origin of each request, and needs no CSRF token", []string{"CSRF_SECRET", "CSRF_TRUSTED_ORIGINS", "CSRF_COOKIE_SECURE", "CSRF_ENABLED"}},
	{"Kubernetes sends the Host of each request; name the app's hosts in the Ingress or the Gateway", []string{"ALLOWED_HOSTS", "DJANGO_ALLOWED_HOSTS", "TRUSTED_HOSTS"}},
	{"it is not the password of Redis itself: store it, and name it in spec.redis.sentinelPasswordRef of the class", []string{"REDIS_SENTINEL_PASSWORD", "SPRING_DATA_REDIS_SENTINEL_PASSWORD"}},
	{"the sidecar shows no debug output to clients", []string{"DEBUG", "DJANGO_DEBUG"}},
}

// readRest reads the log level and the proxies, and says why other variables are not carried over.
func (t *translation) readRest() {
	if found, ok := t.take("LOG_LEVEL", "LOGLEVEL", "DJANGO_LOG_LEVEL", "LOGGING_LEVEL_ROOT", "UVICORN_LOG_LEVEL"); ok {
		levels := map[string]string{"debug": "debug", "trace": "debug", "verbose": "debug", "info": "info", "http": "info", "warn": "warn", "warning": "warn", "error": "error", "critical": "error", "fatal": "error"}
		if t.logLevel = levels[strings.ToLower(found.Value)]; t.logLevel != "" {
			t.carry(found.Name, "spec.logLevel of the class, %s", t.logLevel)
		} else {
			t.drop(found.Name, "it is not debug, info, warn or error")
		}
	}
	t.readProxies()
	for _, group := range notCarried {
		for _, key := range group.keys {
			if v := t.settings.byKey[key]; v != nil {
				t.settings.used[key] = true
				t.drop(v.name, "%s", group.why)
			}
		}
	}
}

func (t *translation) readProxies() {
	found, ok := t.take("TRUSTED_PROXIES", "TRUST_PROXY", "FORWARDED_ALLOW_IPS", "PROXY_TRUSTED_HOSTS")
	if !ok {
		t.ask("If a proxy or an Ingress is in front of the app, write its networks to spec.trustedProxies of the class: limits count by the client's address.")
		return
	}
	for i, text := range parseList(found.Value) {
		prefix, err := netip.ParsePrefix(text)
		if a, notAddress := netip.ParseAddr(text); notAddress == nil {
			prefix, err = netip.PrefixFrom(a.WithZone(""), a.BitLen()), nil
		}
		switch {
		case err != nil:
			t.drop(found.Name, "entry %d is not a network such as 10.0.0.0/8. A number of proxies, or all of them, would let a client choose its own address", i+1)
		case prefix.Bits() == 0:
			t.drop(found.Name, "entry %d is every address, so that a client could choose its own", i+1)
		case len(t.proxies) < 64:
			t.proxies = append(t.proxies, prefix.Masked().String())
		}
	}
	if len(t.proxies) > 0 {
		t.carry(found.Name, "spec.trustedProxies of the class")
	}
}
