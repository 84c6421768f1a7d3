package boilerplate

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/posterndev/postern/api/check"
)

// maxLimits is the maximum of a policy.
const maxLimits = 32

// A limit is a rate limit of the policy; without path it is for every request.
type limit struct{ name, method, path, rate string }

// everywhere are the names of variables with limits for every request, without RATE_LIMIT_ or RATELIMIT_.
var everywhere = map[string]bool{"": true, "DEFAULT": true, "DEFAULTS": true, "GLOBAL": true, "API": true, "STRING": true, "ANON": true}

// perUnit are variables with a number of requests in a unit.
var perUnit = map[string]string{"PER_SECOND": "second", "PER_MINUTE": "minute", "PER_HOUR": "hour", "PER_DAY": "day",
	"REQUESTS_PER_SECOND": "second", "REQUESTS_PER_MINUTE": "minute", "REQUESTS_PER_HOUR": "hour", "RPM": "minute"}

func (t *translation) readLimits() error {
	for _, given := range t.RateLimits {
		if err := t.givenLimit(given); err != nil {
			return err
		}
	}
	t.expressLimit()
	for _, v := range t.settings.variables {
		if suffix, ok := limitSuffix(v.key); ok && !t.settings.used[v.key] {
			t.variableLimit(v.key, suffix)
		}
	}
	if !t.limited("login") {
		t.addLimits("login", "POST", t.LoginPath, []string{"5/minute"})
	}
	if len(t.limits) > maxLimits {
		return fmt.Errorf("there are %d rate limits, and a policy has up to %d: remove some --rate-limit", len(t.limits), maxLimits)
	}
	return nil
}

func (t *translation) limited(name string) bool {
	for _, l := range t.limits {
		if l.name == name {
			return true
		}
	}
	return false
}

// givenLimit reads "name=POST /path 5/minute" or "name=/path 5/minute" or "name=5/minute".
func (t *translation) givenLimit(given string) error {
	bad := fmt.Errorf("--rate-limit %.128q: write it as 'otp=POST /otp 5/minute'", given)
	name, rest, ok := strings.Cut(given, "=")
	if name = strings.TrimSpace(name); !ok || !label().MatchString(name) || len(name) > 60 || t.limited(name) {
		return bad
	}
	l := limit{name: name}
	fields := strings.Fields(rest)
	if len(fields) > 1 && check.IsMethod(fields[0]) && strings.HasPrefix(fields[1], "/") {
		l.method, fields = fields[0], fields[1:]
	}
	if len(fields) > 1 && strings.HasPrefix(fields[0], "/") {
		l.path, fields = withoutSlash(fields[0]), fields[1:]
		if _, err := check.ParsePattern(l.path); err != nil {
			return fmt.Errorf("--rate-limit %.128q: %w", given, err)
		}
	}
	rates, err := ParseRates(strings.Join(fields, " "))
	if err != nil {
		return errors.Join(bad, err)
	}
	t.addLimits(l.name, l.method, l.path, rates)
	return nil
}

func (t *translation) addLimits(name, method, path string, rates []string) {
	for i, rate := range rates {
		l := limit{name: name, method: method, path: path, rate: rate}
		if i > 0 {
			l.name += "-" + strconv.Itoa(i+1)
		}
		t.limits = append(t.limits, l)
	}
}

// expressLimit reads the window and the number of express-rate-limit.
func (t *translation) expressLimit() {
	window, ok := t.take("RATE_LIMIT_WINDOW_MS", "RATE_LIMIT_WINDOWMS", "RATELIMIT_WINDOW_MS")
	unit := time.Millisecond
	if !ok {
		window, ok = t.take("RATE_LIMIT_WINDOW", "RATE_LIMIT_PERIOD", "DEFAULT_RATE_LIMIT_PERIOD")
		unit = 0
		if window.Name == "DEFAULT_RATE_LIMIT_PERIOD" {
			unit = time.Second
		}
	}
	number, hasNumber := t.take("RATE_LIMIT_MAX_REQUESTS", "RATE_LIMIT_MAX", "RATELIMIT_MAX", "RATE_LIMIT_REQUESTS", "DEFAULT_RATE_LIMIT_LIMIT")
	if !ok && !hasNumber {
		return
	}
	if !ok || !hasNumber {
		t.drop(window.Name+number.Name, "a limit needs a number and a window; write --rate-limit 'api=100/15m'")
		return
	}
	d, err := parseLifetime(window.Value, unit)
	if err != nil {
		t.drop(window.Name, "%v; write --rate-limit 'api=100/15m'", err)
		return
	}
	rate, err := rateOf(number.Value, int64(math.Ceil(d.Seconds())))
	if err != nil {
		t.drop(number.Name, "it is not a number of requests in a period that a policy can count")
		return
	}
	t.addLimits("api", "", "", []string{rate})
	t.carry(number.Name, "rateLimits, api: %s", rate)
}

// limitSuffix returns what follows RATE_LIMIT_ in the key of a variable.
func limitSuffix(key string) (string, bool) {
	for _, prefix := range []string{"RATE_LIMIT", "RATELIMIT", "THROTTLE"} {
		if suffix, ok := strings.CutPrefix(key, prefix); ok {
			return strings.TrimPrefix(suffix, "_"), true
		}
	}
	return "", false
}

// variableLimit reads one variable, such as RATE_LIMIT_LOGIN.
func (t *translation) variableLimit(key, suffix string) {
	found, ok := t.take(key)
	switch unit := perUnit[suffix]; {
	case !ok:
		return
	case suffix == "ENABLED" || suffix == "STRATEGY" || suffix == "HEADERS_ENABLED" || suffix == "SKIP_SUCCESSFUL_REQUESTS" || suffix == "KEY_PREFIX":
		t.drop(found.Name, "the limits of the policy are exact across replicas, and have modes (Enforce, Shadow) in place of this")
		return
	case unit != "":
		found.Value, suffix = found.Value+"/"+unit, ""
	}
	rates, err := ParseRates(found.Value)
	if err != nil {
		t.drop(found.Name, "%v", err)
		return
	}
	name, method, path := "api", "", ""
	switch {
	case suffix == "LOGIN" || suffix == "AUTH" || suffix == "SIGNIN":
		name, method, path = "login", "POST", t.LoginPath
	case !everywhere[suffix]:
		name = strings.ToLower(strings.ReplaceAll(suffix, "_", "-"))
		if !t.limited(name) {
			t.drop(found.Name, "the settings do not say for which route it is: run this again with --rate-limit '%s=POST /%s %s'", safe(name), safe(name), rates[0])
		}
		return
	}
	if t.limited(name) {
		t.drop(found.Name, "the policy has a limit %s already, of --rate-limit or of another variable", name)
		return
	}
	t.addLimits(name, method, path, rates)
	t.carry(found.Name, "rateLimits, %s: %s", name, strings.Join(rates, " and "))
}
