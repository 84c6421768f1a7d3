package endpoints

import "fmt"

// ClearSiteData is what a logout makes the browser delete, in addition to the two cookies (W3C Clear Site Data). Browsers do so over
// https only.
type ClearSiteData string

// The values. Cache deletes stored responses, and pages that the Back button would show. Storage is what scripts have stored, and
// service workers. All deletes every cookie of the registrable domain, of its other hosts as well.
const (
	ClearNone            ClearSiteData = "None"
	ClearCache           ClearSiteData = "Cache"
	ClearCacheAndStorage ClearSiteData = "CacheAndStorage"
	ClearAll             ClearSiteData = "All"
)

// value returns the field's value; empty for none.
func (c ClearSiteData) value() (string, error) {
	switch c {
	case ClearNone, "":
		return "", nil
	case ClearCache:
		return `"cache"`, nil
	case ClearCacheAndStorage:
		return `"cache", "storage"`, nil
	case ClearAll:
		return `"cache", "storage", "cookies"`, nil
	}
	return "", fmt.Errorf("clearSiteData %q must be %s, %s, %s or %s", c, ClearNone, ClearCache, ClearCacheAndStorage, ClearAll)
}
