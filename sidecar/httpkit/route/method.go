package route

import "github.com/posterndev/postern/api/check"

// matchMethod reports whether method is in methods, or is HEAD and GET is.
func matchMethod(methods []string, method string) bool { return check.MatchMethod(methods, method) }

// fold returns s in a form that is the same for all spellings which differ only in case.
func fold(s string) string { return check.FoldPath(s) }
