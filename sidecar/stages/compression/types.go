package compression

import (
	"fmt"
	"strings"

	"github.com/posterndev/postern/api/check"
)

// defaultTypes are types that compress well and that browsers and APIs use.
var defaultTypes = [...]string{
	"text/*", "application/json", "application/problem+json", "application/ld+json", "application/geo+json", "application/x-ndjson",
	"application/javascript", "application/manifest+json", "application/xml", "application/xhtml+xml", "application/rss+xml",
	"application/atom+xml", "application/yaml", "application/graphql-response+json", "application/wasm", "image/svg+xml",
}

// types is a compiled list of media types, in lower case.
type types struct {
	whole map[string]struct{}
	// ranges are the types of type/* entries, each with its slash.
	ranges []string
}

func parseTypes(list []string) (types, error) {
	if len(list) == 0 {
		list = defaultTypes[:]
	}
	t := types{whole: make(map[string]struct{}, len(list))}
	for _, s := range list {
		if err := check.MediaType(s); err != nil {
			return types{}, fmt.Errorf("reading media types: %w", err)
		}
		if major, ok := strings.CutSuffix(s, "/*"); ok {
			t.ranges = append(t.ranges, strings.ToLower(major)+"/")
			continue
		}
		t.whole[strings.ToLower(s)] = struct{}{}
	}
	return t, nil
}

// has reports whether the media type, in lower case and without parameters, is in the list.
func (t types) has(mediaType string) bool {
	if _, ok := t.whole[mediaType]; ok {
		return true
	}
	if mediaType == "text/event-stream" {
		return false
	}
	for _, r := range t.ranges {
		if strings.HasPrefix(mediaType, r) {
			return true
		}
	}
	return false
}

// mediaType returns the type of a Content-Type, in lower case and without parameters.
func mediaType(contentType string) string {
	t, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.Trim(t, " \t"))
}
