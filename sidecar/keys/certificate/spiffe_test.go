package certificate

import (
	"strings"
	"testing"
)

func TestParseSPIFFE(t *testing.T) {
	for id, want := range map[string]string{
		"spiffe://example.org/ns/shop/sa/orders":                 "example.org",
		"spiffe://prod.acme_corp-1/A-Z.a/_":                      "prod.acme_corp-1",
		"spiffe://example.org":                                   "",
		"spiffe://example.org/":                                  "",
		"spiffe://example.org/a/":                                "",
		"spiffe://example.org//a":                                "",
		"spiffe://example.org/../a":                              "",
		"spiffe://example.org/./a":                               "",
		"spiffe://Example.org/a":                                 "",
		"spiffe://example.org:8443/a":                            "",
		"spiffe://user@example.org/a":                            "",
		"spiffe://example.org/a?b=c":                             "",
		"spiffe://example.org/a#b":                               "",
		"spiffe://example.org/a%2Fb":                             "",
		"spiffe://example.org/ä":                                 "",
		"spiffe:///a":                                            "",
		"SPIFFE://example.org/a":                                 "",
		"https://example.org/a":                                  "",
		"":                                                       "",
		"spiffe://example.org/" + strings.Repeat("a", maxSPIFFE): "",
		"spiffe://" + strings.Repeat("a", 256) + "/a":            "",
	} {
		if got, err := ParseSPIFFE(id); got != want || (err == nil) != (want != "") {
			t.Errorf("%.64q: %q, %v; want %q", id, got, err, want)
		}
	}
}

// FuzzParseSPIFFE: what is accepted has no character that another reader could take for the end of a part.
func FuzzParseSPIFFE(f *testing.F) {
	f.Add("spiffe://example.org/ns/shop/sa/orders")
	f.Add("spiffe://a/..")
	f.Fuzz(func(t *testing.T, id string) {
		domain, err := ParseSPIFFE(id)
		if err != nil {
			return
		}
		path, ok := strings.CutPrefix(id, "spiffe://"+domain+"/")
		if !ok || path == "" || strings.ContainsAny(path, "?#%@: \\") || strings.ContainsAny(domain, "/:@ABCDEFGHIJKLMNOPQRSTUVWXYZ") || strings.Contains("/"+path+"/", "/../") {
			t.Errorf("%q is accepted, with the domain %q", id, domain)
		}
	})
}
