package h2

import (
	"errors"
	"net/url"
	"strings"
)

// judge returns why net/http would refuse the complete block.
func (b *block) judge() violation {
	if b.why == none && b.request {
		b.why = b.judgeRequest()
	}
	return b.why
}

func (b *block) judgeRequest() violation {
	host := b.pseudo[authority]
	if host == "" {
		host = b.host
	}
	if b.pseudo[method] == "CONNECT" {
		if b.pseudo[path] != "" || b.pseudo[scheme] != "" || b.pseudo[authority] == "" {
			return badPseudo
		}
		return none
	}
	switch s := b.pseudo[scheme]; {
	case b.pseudo[method] == "" || b.pseudo[path] == "" || s != "http" && s != "https":
		return badPseudo
	case strings.IndexByte(host, '@') >= 0:
		return badHost
	}
	return judgePath(b.pseudo[path])
}

// judgePath returns why net/http would not take a target. The guard judges the others.
func judgePath(target string) violation {
	if target[0] == '/' && isPlain(target) {
		return none
	}
	_, err := url.ParseRequestURI(target)
	var escape url.EscapeError
	switch {
	case errors.As(err, &escape):
		return badPath
	case err != nil:
		return badTarget
	}
	return none
}

// isPlain reports whether target has only characters for which no parser is needed.
func isPlain(target string) bool {
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c >= 0x7f || c == '%' {
			return false
		}
	}
	return true
}
