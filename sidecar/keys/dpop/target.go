package dpop

import "strings"

const errTarget = Problem("its htu is not the URI of the request")

// matches compares htu with the URI of the request, without query and fragment (RFC 9449 §4.3), after the normalisation of RFC 3986 §6.2.2 and §6.2.3.
func (q Request) matches(htu string) error {
	scheme, rest, ok := strings.Cut(htu, "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "https" && scheme != "http" {
		return Problem("its htu is not an http or https URI")
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i]
	}
	authority, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	want, _, _ := strings.Cut(q.Path, "?")
	switch {
	case authority == "" || strings.Contains(authority, "@"):
		return errTarget
	case q.Scheme != "" && q.Scheme != scheme,
		hostOf(scheme, authority) != hostOf(scheme, q.Host),
		path != want && pathOf(path) != pathOf(want):
		return errTarget
	}
	return nil
}

// hostOf returns an authority in lower case, without the default port of the scheme.
func hostOf(scheme, authority string) string {
	authority = strings.ToLower(authority)
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.IndexByte(authority[i:], ']') >= 0 {
		return authority
	}
	switch port := authority[i+1:]; {
	case port == "", scheme == "https" && port == "443", scheme == "http" && port == "80":
		return authority[:i]
	}
	return authority
}

// pathOf returns a path with upper-case escapes, without escapes of unreserved characters, and without dot segments.
func pathOf(path string) string {
	const digits = "0123456789ABCDEF"
	b := make([]byte, 0, len(path)+8)
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' && i+2 < len(path) && isHex(path[i+1]) && isHex(path[i+2]) {
			c = unhex(path[i+1])<<4 | unhex(path[i+2])
			i += 2
			if unreserved(c) {
				b = append(b, c)
			} else {
				b = append(b, '%', digits[c>>4], digits[c&15])
			}
			continue
		}
		if c <= ' ' || c >= 0x7f || c == '%' { // no request has a broken escape
			b = append(b, '%', digits[c>>4], digits[c&15])
			continue
		}
		b = append(b, c)
	}
	return withoutDots(string(b))
}

// withoutDots removes dot segments (RFC 3986 §5.2.4). Empty segments are significant, and stay.
func withoutDots(path string) string {
	if !strings.Contains(path, "/.") {
		if path == "" {
			return "/"
		}
		return path
	}
	var out []string
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, segment := range segments {
		last := i == len(segments)-1
		switch segment {
		case ".":
		case "..":
			out = out[:max(0, len(out)-1)]
		default:
			out = append(out, segment)
			last = false
		}
		if last {
			out = append(out, "")
		}
	}
	return "/" + strings.Join(out, "/")
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

func unreserved(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}
