package boilerplate

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"
)

// legacy is the provider for tokens that the app's own code issued.
type legacy struct {
	algorithm string
	// issuer and audience are the claims that the tokens have, or "".
	issuer, audience string
	until            time.Time
	short            bool
}

// Variables with the secret that signs tokens, the most specific first.
var tokenSecrets = []string{
	"JWT_SECRET", "JWT_SECRET_KEY", "JWT_ACCESS_SECRET", "JWT_ACCESS_TOKEN_SECRET", "ACCESS_TOKEN_SECRET", "ACCESS_TOKEN_SECRET_KEY", "JWT_SIGNING_KEY",
	"SIMPLE_JWT_SIGNING_KEY", "JWT_KEY", "TOKEN_SECRET", "APP_JWT_SECRET", "APP_JWTSECRET", "APP_JWT_SECRET_KEY", "APPLICATION_SECURITY_JWT_SECRET_KEY",
	"SECURITY_JWT_SECRET_KEY", "SECURITY_JWT_SECRET", "AUTH_JWT_SECRET", "JWT_SECRETKEY", "SECRET_KEY", "DJANGO_SECRET_KEY", "APP_SECRET_KEY", "APP_SECRET",
}

// Bounds of HMAC secrets in bytes: RFC 7518 §3.2, and what legacy.shortSecret: Allow accepts.
var secretLengths = map[string]int{"HS256": 32, "HS384": 48, "HS512": 64}

const minShortSecret = 16

// The time for a cut-over, after which no old token is issued, and the maximum with the lifetime of the last ones. With more, lint warns.
const (
	cutOver   = 30 * 24 * time.Hour
	maxLegacy = 90 * 24 * time.Hour
)

// examples are parts of secrets that tutorials and templates have, in lower case without hyphens, underscores and spaces.
var examples = []string{
	"changeme", "changethis", "yoursecret", "your256bitsecret", "yourjwtsecret", "supersecret", "secretkey", "thisisasamplesecret", "mysecret", "notsecret", "replaceme", "example",
	// of the tutorial of FastAPI, and of many guides to Spring
	"09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7", "404e635266556a586e3272357538782f413f4428472b4b6250645367566b5970",
}

func (t *translation) readLegacy() {
	algorithm, from, ok := t.legacyAlgorithm()
	name, issuerKnown := t.take("JWT_ISSUER", "JWT_ISS", "TOKEN_ISSUER")
	secrets := t.setSecrets()
	if !ok {
		return
	}
	defer t.reportAlgorithm(from)
	if len(secrets) == 0 {
		t.drop("The old tokens", "the settings have no secret that signs them, such as JWT_SECRET: everybody logs in once more")
		return
	}
	chosen := secrets[0]
	value, err := t.legacySecret(chosen.Value)
	if err == nil {
		err = t.weakness(algorithm, value)
	}
	unknown := chosen.Unresolved != ""
	if err != nil && !unknown {
		t.drop(chosen.Name, "%v. The old tokens are refused, and everybody logs in once more", err)
		return
	}
	l := &legacy{algorithm: algorithm, until: t.until(), short: len(value) < secretLengths[algorithm] && !unknown}
	if issuerKnown {
		if !t.legacyIssuer(l, name) {
			return
		}
	}
	if t.tokens.claimed {
		l.audience = t.tokens.audience
	}
	t.legacy = l
	t.secrets = append(t.secrets, secret{id: "legacy-secret", variable: chosen.Name, value: value, unknown: chosen.Unresolved, object: "legacy", key: "secret"})
	t.carry(chosen.Name, "jwt.providers, legacy: the old tokens are accepted until %s", l.until.Format(time.RFC3339))
	t.legacyTodo(l)
}

// reportAlgorithm says what became of the algorithm of the old tokens. from is the variable that names it; empty if none does.
func (t *translation) reportAlgorithm(from string) {
	switch {
	case t.legacy == nil && from != "":
		t.drop(from, "the old tokens are refused, and new ones are signed by ES256, whose key the app does not have")
	case t.legacy != nil && from != "":
		t.carry(from, "jwt.providers, algorithms of the old tokens; new ones are signed by ES256, whose key the app does not have")
	case t.legacy != nil:
		t.ask("The settings do not name the algorithm of the old tokens, so it is HS256: correct it in jwt.providers if it is another one.")
	}
}

// legacyAlgorithm returns the HMAC algorithm of the old tokens, and the variable that names it. ok is false if they have none.
func (t *translation) legacyAlgorithm() (algorithm, from string, ok bool) {
	found, set := t.take("JWT_ALGORITHM", "ALGORITHM", "JWT_ALG", "JWT_SIGNING_ALGORITHM", "SIMPLE_JWT_ALGORITHM", "ENCRYPTION_ALGORITHM")
	if !set {
		if found.Unresolved != "" {
			return "", "", false
		}
		return "HS256", "", true
	}
	switch upper := strings.ToUpper(found.Value); {
	case secretLengths[upper] != 0:
		return upper, found.Name, true
	case upper == "NONE":
		t.drop(found.Name, "tokens without a signature can be made by anybody: the old tokens are refused, and everybody logs in once more")
	default:
		t.drop(found.Name, "only HS256, HS384 and HS512 have a secret that can be carried over. For tokens with a public key, write a provider with legacy and the JWK set of the key in jwks; see the page about keys")
	}
	return "", "", false
}

// setSecrets returns the secrets that are set, the one that signs tokens first, and reports the others.
func (t *translation) setSecrets() []Setting {
	var set []Setting
	for _, key := range tokenSecrets {
		found, ok := t.settings.first(key)
		if !ok {
			continue
		}
		if set = append(set, found); len(set) > 1 {
			t.drop(found.Name, "%s signs the tokens; the app keeps this one if it uses it for something else", set[0].Name)
		}
	}
	if found, ok := t.take("JWT_REFRESH_SECRET", "JWT_REFRESH_SECRET_KEY", "JWT_REFRESH_TOKEN_SECRET", "REFRESH_TOKEN_SECRET", "REFRESH_TOKEN_SECRET_KEY", "REFRESH_SECRET_KEY"); ok {
		t.drop(found.Name, "no old refresh token works at the sidecar. Keep the app's route that refreshes until the old tokens end, and add it to tokens.login")
	}
	return set
}

// legacySecret returns the bytes that sign the tokens.
func (t *translation) legacySecret(value string) (string, error) {
	if !t.Base64 {
		return value, nil
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if decoded, err := encoding.DecodeString(value); err == nil {
			return string(decoded), nil
		}
	}
	return "", errors.New("it is not base64, although --secret-encoding says so")
}

// weakness returns why a secret cannot be trusted, or nil.
func (t *translation) weakness(algorithm, value string) error {
	if len(value) < minShortSecret {
		return errors.New("it has less than 16 bytes, and can be guessed from one token")
	}
	if t.AcceptWeak {
		return nil
	}
	if len(value) < secretLengths[algorithm] {
		return errors.New("it is shorter than " + algorithm + " requires (RFC 7518 §3.2), so that it can be guessed from one token; --accept-weak-secret accepts it")
	}
	folded := strings.NewReplacer("-", "", "_", "", " ", "", "!", "").Replace(strings.ToLower(value))
	if slices.ContainsFunc(examples, func(e string) bool { return strings.Contains(folded, e) }) || strings.HasPrefix(value, "django-insecure-") {
		return errors.New("it looks like the example of a template, which everybody knows; --accept-weak-secret accepts it")
	}
	return nil
}

// legacyIssuer sets the iss of the old tokens. It reports false if they cannot be told from the new ones.
func (t *translation) legacyIssuer(l *legacy, found Setting) bool {
	switch {
	case found.Value == t.tokens.issuer:
		t.drop(found.Name, "it is the issuer of the new tokens too, and each issuer has one kind of key. Run this again with another --issuer, or the old tokens are refused")
		return false
	case !plain(found.Value, 512):
		t.drop(found.Name, "it is not printable ASCII of up to 512 bytes, so the old tokens are refused")
		return false
	}
	l.issuer = found.Value
	t.carry(found.Name, "jwt.providers, issuer of the old tokens; the new ones have tokens.issuer")
	return true
}

// until returns the end of the old tokens, in whole days: the time of a cut-over and the longest lifetime from now.
func (t *translation) until() time.Time {
	if !t.Until.IsZero() {
		return t.Until.UTC().Truncate(time.Second)
	}
	end := cutOver + max(t.tokens.access, t.tokens.refresh)
	if end > maxLegacy {
		end = maxLegacy
		t.ask("The old tokens live for longer than they are accepted: write a later --until, or some users log in once more.")
	}
	return t.Now.UTC().Add(end).Truncate(24 * time.Hour)
}

func (t *translation) legacyTodo(l *legacy) {
	if l.short {
		t.ask("The secret is shorter than %s requires. A person who has one token can guess it: make legacy.until as early as you can.", l.algorithm)
	}
	if t.framework.accessOnly == "" {
		t.ask("Tokens that the same secret signed for something else, such as refreshing, a password reset or an e-mail address, are accepted as access tokens. If there are such, add requiredClaims that only access tokens have to the provider legacy, such as {claim: type, values: [access]}.")
	}
	if !t.Base64 && t.framework.name == "spring" {
		t.ask("If the app decodes the secret (Decoders.BASE64 of jjwt), run this again with --secret-encoding Base64. Otherwise every old token is refused.")
	}
	t.ask("When the policy is enforced, set legacy.until to that time plus the longest lifetime of the old tokens. It is %s. Remove the provider and its secret after it.", l.until.Format(time.RFC3339))
}
