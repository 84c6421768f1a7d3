package boilerplate

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/posterndev/postern/api/check"
)

// tokens is the section of the same name.
type tokens struct {
	issuer string
	// audience is the aud claim of the tokens; claimed says that the old tokens have it as well.
	audience        string
	claimed         bool
	access, refresh time.Duration
	cookie          bool
	sameSite        string
	// cookieName is the cookie in which the old tokens are, or "".
	cookieName string
}

// Bounds of tokens: those of the policy.
const (
	maxAccess  = 24 * time.Hour
	maxRefresh = 365 * 24 * time.Hour
)

// Variables with the lifetime of a token, by their unit. Those of unit 0 have one in their value, or that of the framework.
type lifetimes struct {
	unit time.Duration
	keys []string
}

var accessLifetimes = []lifetimes{
	{time.Minute, []string{"ACCESS_TOKEN_EXPIRE_MINUTES", "JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "JWT_ACCESS_EXPIRATION_MINUTES", "JWT_EXPIRE_MINUTES", "JWT_EXPIRATION_MINUTES", "ACCESS_TOKEN_LIFETIME_MINUTES", "JWT_ACCESS_TOKEN_LIFETIME_MINUTES"}},
	{time.Hour, []string{"JWT_EXPIRATION_HOURS", "ACCESS_TOKEN_EXPIRE_HOURS"}},
	{24 * time.Hour, []string{"ACCESS_TOKEN_EXPIRE_DAYS", "JWT_EXPIRE_DAYS"}},
	{time.Second, []string{"JWT_ACCESS_TOKEN_EXPIRES_SECONDS", "ACCESS_TOKEN_EXPIRE_SECONDS", "JWT_ACCESS_TOKEN_EXPIRES"}},
	{time.Millisecond, []string{"JWT_EXPIRATION_MS", "JWT_EXPIRATIONMS", "JWT_EXPIRATION_IN_MS", "APP_JWT_EXPIRATION_MS", "APP_JWTEXPIRATIONMS", "APP_JWT_EXPIRATION_MILLISECONDS", "APP_JWTEXPIRATIONINMS"}},
	{0, []string{"JWT_EXPIRES_IN", "JWT_EXPIRE", "JWT_ACCESS_EXPIRES_IN", "ACCESS_TOKEN_EXPIRES_IN", "ACCESS_TOKEN_EXPIRY", "JWT_EXPIRATION", "JWT_ACCESS_EXPIRATION", "JWT_ACCESS_TOKEN_EXPIRATION", "ACCESS_TOKEN_LIFETIME", "APPLICATION_SECURITY_JWT_EXPIRATION", "SECURITY_JWT_EXPIRATION_TIME"}},
}

var refreshLifetimes = []lifetimes{
	{24 * time.Hour, []string{"REFRESH_TOKEN_EXPIRE_DAYS", "JWT_REFRESH_TOKEN_EXPIRE_DAYS", "JWT_REFRESH_EXPIRATION_DAYS", "REFRESH_TOKEN_LIFETIME_DAYS", "JWT_REFRESH_TOKEN_LIFETIME_DAYS"}},
	{time.Minute, []string{"REFRESH_TOKEN_EXPIRE_MINUTES", "JWT_REFRESH_TOKEN_EXPIRE_MINUTES"}},
	{time.Second, []string{"JWT_REFRESH_TOKEN_EXPIRES"}},
	{time.Millisecond, []string{"JWT_REFRESH_EXPIRATION_MS", "JWT_REFRESHEXPIRATIONMS", "APP_JWT_REFRESH_EXPIRATION_MS", "APP_JWTREFRESHEXPIRATIONMS"}},
	{0, []string{"JWT_REFRESH_EXPIRES_IN", "REFRESH_TOKEN_EXPIRES_IN", "REFRESH_TOKEN_EXPIRY", "JWT_REFRESH_EXPIRATION", "REFRESH_TOKEN_LIFETIME", "APPLICATION_SECURITY_JWT_REFRESH_TOKEN_EXPIRATION", "JWT_REFRESH_TOKEN_EXPIRATION"}},
}

// reportPort says where the port comes from. One that --port replaces is not carried over.
func (t *translation) reportPort(found Setting) {
	n, err := strconv.Atoi(found.Value)
	switch {
	case found.Unresolved != "":
		t.drop(found.Name, "its value is not in the settings, so spec.ports has %d: correct it if the app listens on another one", t.Port)
	case err != nil || n != t.Port:
		t.drop(found.Name, "--port says %d, which spec.ports has", t.Port)
	default:
		t.carry(found.Name, "spec.ports, %d", t.Port)
	}
}

// routes reads what complete has read already, for the report.
func (t *translation) routes() {
	t.settings.first("API_V1_STR", "API_PREFIX")
	t.settings.first("JWT_SUBJECT_CLAIM", "SIMPLE_JWT_USER_ID_CLAIM", "JWT_USER_ID_CLAIM")
	if found, ok := t.settings.first("PORT", "APP_PORT", "SERVER_PORT", "UVICORN_PORT", "BACKEND_PORT"); ok {
		t.reportPort(found)
	}
	t.ask("The login is taken to be POST %s with the account in %s, as in apps of the kind %s: check it, or run this again with --login-path and --account.", t.LoginPath, t.Account, t.framework.name)
	t.ask("Every other route needs a token: add the public ones to authorization.rules.")
	if t.ResetPath == "" {
		t.ask("No route of a password reset is protected: run this again with --reset-path /password/reset if there is one.")
	}
}

func (t *translation) readTokens() error {
	t.tokens.access = t.lifetime(accessLifetimes, false)
	t.tokens.refresh = t.lifetime(refreshLifetimes, true)
	t.readCookies()
	t.tokens.audience = t.Name
	if found, ok := t.take("JWT_AUDIENCE", "JWT_AUD", "TOKEN_AUDIENCE"); ok {
		if plain(found.Value, 256) {
			t.tokens.audience, t.tokens.claimed = found.Value, true
			t.carry(found.Name, "tokens.audiences")
		} else {
			t.drop(found.Name, "it is not printable ASCII of up to 256 bytes")
		}
	}
	t.tokens.issuer = t.Issuer
	if t.tokens.issuer == "" {
		t.tokens.issuer = "https://" + t.Name + ".example.com"
		t.ask("tokens.issuer is the example %s: write the https URL of the app, or run this again with --issuer.", t.tokens.issuer)
	}
	if err := check.TokenIssuer(t.tokens.issuer); err != nil {
		return fmt.Errorf("the issuer %.128q: %w", t.tokens.issuer, err)
	}
	return nil
}

// lifetime returns the lifetime of the first variable that is set, or 0.
func (t *translation) lifetime(of []lifetimes, refresh bool) time.Duration {
	var chosen time.Duration
	for _, l := range of {
		for _, key := range l.keys {
			found, ok := t.take(key)
			if !ok {
				continue
			}
			unit := l.unit
			if unit == 0 && t.framework.milliseconds {
				unit = time.Millisecond
			}
			switch d, err := parseLifetime(found.Value, unit); {
			case err != nil:
				t.drop(found.Name, "%v", err)
			case chosen != 0:
				t.drop(found.Name, "another variable has this lifetime already")
			default:
				chosen = d
				t.carryLifetime(found.Name, d, refresh)
			}
		}
	}
	return chosen
}

// carryLifetime reports what becomes of a lifetime.
func (t *translation) carryLifetime(name string, d time.Duration, refresh bool) {
	switch {
	case refresh && d > maxRefresh:
		t.drop(name, "a refresh token is valid for at most a year without being used; the policy has its default, 168h")
	case refresh:
		t.carry(name, "tokens.refreshLifetime, %s", durationText(d))
	case d > maxAccess || d < time.Minute || d%time.Second != 0:
		t.drop(name, "an access token is valid for a minute to 24h in whole seconds, and refreshed after that; the policy has its default, 15m. The old tokens keep theirs")
	default:
		t.carry(name, "tokens.accessLifetime, %s", durationText(d))
	}
}

func (t *translation) readCookies() {
	if found, ok := t.take("ACCESS_TOKEN_COOKIE_NAME", "JWT_COOKIE_NAME", "JWT_ACCESS_COOKIE_NAME", "JWT_AUTH_COOKIE", "JWT_ACCESS_COOKIE", "COOKIE_NAME"); ok {
		if strings.ContainsFunc(found.Value, func(r rune) bool { return !inName(r) }) || len(found.Value) > 128 {
			t.drop(found.Name, "it is not the name of a cookie")
		} else {
			t.tokens.cookieName, t.tokens.cookie = found.Value, true
			t.carry(found.Name, "tokens.delivery, Cookie; the old tokens are read from this cookie too, the new ones have a name of their own")
		}
	}
	if found, ok := t.take("COOKIE_SAMESITE", "COOKIE_SAME_SITE", "JWT_COOKIE_SAMESITE", "JWT_AUTH_SAMESITE", "AUTH_COOKIE_SAMESITE"); ok {
		t.sameSite(found)
	}
	if found, ok := t.take("COOKIE_SECURE", "JWT_COOKIE_SECURE", "SESSION_COOKIE_SECURE"); ok && !isTrue(found.Value) {
		t.drop(found.Name, "the cookies are always Secure; browsers accept them at localhost as well")
	}
	if found, ok := t.take("COOKIE_DOMAIN", "JWT_COOKIE_DOMAIN", "SESSION_COOKIE_DOMAIN"); ok {
		t.drop(found.Name, "the names of the cookies begin with __Host-, so no other host gets or sets them")
	}
	if found, ok := t.take("COOKIE_HTTPONLY", "JWT_COOKIE_HTTPONLY", "COOKIE_HTTP_ONLY"); ok && !isTrue(found.Value) {
		t.drop(found.Name, "the cookies are always HttpOnly: a script that is injected cannot steal them")
	}
}

// sameSite reads an attribute of the cookies. It has no effect if the access token is in none.
func (t *translation) sameSite(found Setting) {
	value := strings.ToLower(found.Value)
	switch {
	case value != "lax" && value != "strict":
		t.drop(found.Name, "the cookies are Lax or Strict; None would send them with requests that pages of other sites make. Such pages use delivery Body, or cookie.trustedOrigins on the same site")
	case !t.tokens.cookie:
		t.drop(found.Name, "the settings do not name the cookie of the access token, so the policy has delivery Body. If it is in a cookie, write tokens.delivery: Cookie and tokens.cookie.sameSite")
	default:
		t.tokens.sameSite = strings.ToUpper(value[:1]) + value[1:]
		t.carry(found.Name, "tokens.cookie.sameSite, %s", t.tokens.sameSite)
	}
}
