package boilerplate

import (
	"slices"
	"strings"
)

// A framework is what apps of one kind do unless their settings say otherwise.
type framework struct {
	name string
	// keys are variables that only such apps have; prefixes are those of their names.
	keys, prefixes []string
	login, account string
	subjectClaim   string
	// accessOnly is the claim whose value access tells access tokens from refresh tokens of the same secret, or "".
	accessOnly string
	// failure is how the login route says that a password is wrong, unless by the default statuses.
	failure string
	// milliseconds is true if a lifetime without unit is in milliseconds.
	milliseconds bool
}

// frameworks in the order in which they are tried. The last one fits every app.
var frameworks = []framework{
	{
		name: "django", keys: []string{"DJANGO_SETTINGS_MODULE", "DJANGO_SECRET_KEY", "ALLOWED_HOSTS", "DJANGO_ALLOWED_HOSTS", "DJANGO_DEBUG"}, prefixes: []string{"SIMPLE_JWT_"},
		login: "/api/token", account: "json:username", subjectClaim: "user_id", accessOnly: "token_type",
	},
	{name: "spring", prefixes: []string{"SPRING_"}, login: "/api/auth/login", account: "json:username", subjectClaim: "sub", milliseconds: true},
	{
		name: "fastapi", keys: []string{"ACCESS_TOKEN_EXPIRE_MINUTES", "BACKEND_CORS_ORIGINS", "API_V1_STR", "UVICORN_PORT"},
		login: "/login", account: "form:username", subjectClaim: "sub", failure: ", failure: {statuses: [400, 401, 403, 422]}",
	},
	{
		name: "express", keys: []string{"NODE_ENV", "JWT_EXPIRES_IN", "JWT_ACCESS_EXPIRATION_MINUTES"},
		login: "/login", account: "json:email", subjectClaim: "sub",
	},
	{name: "generic", login: "/login", account: "json:email", subjectClaim: "sub"},
}

// Frameworks returns the names of the frameworks, for --framework.
func Frameworks() []string {
	var names []string
	for _, f := range frameworks {
		names = append(names, f.name)
	}
	return names
}

// frameworkOf returns the framework with the name, or without a name the one whose variables are in the settings.
func frameworkOf(name string, s *Settings) framework {
	for _, f := range frameworks {
		if name != "" && name == f.name || name == "" && (slices.ContainsFunc(f.keys, s.known) || s.hasPrefix(f.prefixes)) {
			return f
		}
	}
	return frameworks[len(frameworks)-1]
}

func (s *Settings) hasPrefix(prefixes []string) bool {
	return slices.ContainsFunc(s.variables, func(v variable) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(v.key, p) })
	})
}
