package boilerplate

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/posterndev/postern/api/check"
)

// cors is the section of the same name.
type cors struct {
	origins, methods, headers []string
	credentials               bool
}

// Bounds of the lists of a policy.
const (
	maxOrigins = 64
	maxMembers = 16
)

func (t *translation) readCORS() {
	credentials, hasCredentials := t.take("CORS_CREDENTIALS", "CORS_ALLOW_CREDENTIALS", "ALLOW_CREDENTIALS", "CORS_SUPPORTS_CREDENTIALS")
	methods, hasMethods := t.take("CORS_METHODS", "CORS_ALLOW_METHODS", "CORS_ALLOWED_METHODS")
	headers, hasHeaders := t.take("CORS_HEADERS", "CORS_ALLOW_HEADERS", "CORS_ALLOWED_HEADERS")
	all, hasAll := t.take("CORS_ALLOW_ALL_ORIGINS", "CORS_ORIGIN_ALLOW_ALL")
	found, ok := t.take("CORS_ORIGINS", "BACKEND_CORS_ORIGINS", "CORS_ALLOWED_ORIGINS", "CORS_ALLOW_ORIGINS", "ALLOWED_ORIGINS", "CORS_ORIGIN", "CORS_ORIGIN_WHITELIST", "APP_CORS_ALLOWED_ORIGINS", "DJANGO_CORS_ALLOWED_ORIGINS")
	if hasAll && isTrue(all.Value) {
		found, ok = Setting{Name: all.Name, Value: "*"}, true
	}
	if !ok {
		return
	}
	c := &cors{credentials: hasCredentials && isTrue(credentials.Value)}
	list := parseList(found.Value)
	if slices.Contains(list, "*") {
		if c.credentials || t.tokens.cookie {
			t.drop(found.Name, "* with credentials lets every site act as the user. List the origins in cors.allowOrigins")
			return
		}
		if len(list) > 1 {
			t.drop(found.Name, "* makes the other origins of the list superfluous")
		}
		list = []string{"*"}
	}
	if c.origins = t.origins(found.Name, list); len(c.origins) == 0 {
		return
	}
	if hasMethods {
		c.methods = t.members(methods, func(m string) error { return check.CORSMethod(m, c.credentials) }, strings.ToUpper)
	}
	if hasHeaders {
		c.headers = t.members(headers, func(h string) error { return check.CORSHeader(h, c.credentials) }, strings.TrimSpace)
	}
	if hasCredentials {
		t.carry(credentials.Name, "cors.allowCredentials, %t", c.credentials)
	}
	t.cors = c
	t.carry(found.Name, "cors.allowOrigins")
	t.ask("Delete the app's own CORS code: the policy replaces its headers.")
	if c.methods == nil {
		t.ask("Scripts of other origins may use GET, HEAD and POST: add cors.allowMethods and cors.allowHeaders, such as [PUT, DELETE] and [Authorization, Content-Type].")
	}
}

// origins returns those of the list that a policy accepts, and reports the others by their place, because one may have a password in it.
func (t *translation) origins(name string, list []string) []string {
	var accepted []string
	for i, origin := range list {
		origin = strings.ToLower(strings.TrimSuffix(origin, "/"))
		if canonical, err := check.Origin(origin); err == nil {
			origin = canonical
		}
		switch err := check.CORSOrigin(origin, len(list) == 1, false); {
		case err != nil:
			t.drop(name, "entry %d: %v", i+1, err)
		case len(accepted) == maxOrigins || len(origin) > 255:
			t.drop(name, "entry %d: a policy has up to %d origins of up to 255 bytes", i+1, maxOrigins)
		case !slices.Contains(accepted, origin):
			accepted = append(accepted, origin)
		}
	}
	return accepted
}

func (t *translation) members(of Setting, check func(string) error, normal func(string) string) []string {
	var accepted []string
	for i, member := range parseList(of.Value) {
		member = normal(member)
		if err := check(member); err != nil {
			t.drop(of.Name, "entry %d: %v", i+1, err)
		} else if !slices.Contains(accepted, member) && len(accepted) < maxMembers {
			accepted = append(accepted, member)
		}
	}
	if len(accepted) > 0 {
		t.carry(of.Name, "cors")
	}
	return accepted
}

// parseList reads a JSON list of strings, or a text with commas or spaces between its members.
func parseList(text string) []string {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "[") {
		var list []string
		// Python's form has single quotes.
		if json.Unmarshal([]byte(text), &list) == nil || json.Unmarshal([]byte(strings.ReplaceAll(text, "'", `"`)), &list) == nil {
			return list
		}
		text = strings.Trim(text, "[]")
	}
	list := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ';' || r == ' ' || r == '\n' || r == '\t' })
	for i := range list {
		list[i] = strings.Trim(list[i], `"'`)
	}
	return list
}
