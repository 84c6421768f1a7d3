package check

import (
	"net/netip"
	"strings"
	"testing"
)

func TestNetwork(t *testing.T) {
	tests := map[string]struct {
		in, want string // want is empty for an error
	}{
		"IPv4":                     {"10.0.0.0/8", "10.0.0.0/8"},
		"everything of IPv4":       {"0.0.0.0/0", "0.0.0.0/0"},
		"one address":              {"192.0.2.7", "192.0.2.7/32"},
		"IPv6":                     {"2001:db8::/32", "2001:db8::/32"},
		"one address of IPv6":      {"2001:db8::1", "2001:db8::1/128"},
		"mapped":                   {"::ffff:10.0.0.0/104", "10.0.0.0/8"},
		"one mapped address":       {"::ffff:192.0.2.7", "192.0.2.7/32"},
		"all mapped addresses":     {"::ffff:0.0.0.0/96", "0.0.0.0/0"},
		"more than mapped":         {"::ffff:0.0.0.0/95", ""},
		"bits of a host":           {"10.0.0.1/8", ""},
		"bits of a host of mapped": {"::ffff:10.0.0.1/104", ""},
		"a zone":                   {"fe80::1%eth0", ""},
		"a zone in a network":      {"fe80::%eth0/64", ""},
		"leading zeros":            {"010.0.0.0/8", ""},
		"a negative length":        {"10.0.0.0/-1", ""},
		"a name":                   {"localhost", ""},
		"a port":                   {"192.0.2.7:80", ""},
		"empty":                    {"", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Network(tt.in)
			if (err == nil) != (tt.want != "") || err == nil && got.String() != tt.want {
				t.Errorf("Network(%q) = %v, %v; want %q", tt.in, got, err, tt.want)
			}
			if err != nil && !strings.Contains(err.Error(), "write") {
				t.Errorf("%v does not say what to write", err)
			}
		})
	}
}

// FuzzNetwork checks that a network is masked, has no zone and is never IPv4 in the form of IPv6, so that comparing it with an unmapped
// address decides.
func FuzzNetwork(f *testing.F) {
	for _, seed := range []string{"10.0.0.0/8", "::ffff:10.0.0.0/104", "fe80::1%eth0", "1.2.3.4", "::/0", "10.0.0.1/8", "::ffff:1.2.3.4/128"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		network, err := Network(text)
		if err != nil {
			return
		}
		if !network.IsValid() || network != network.Masked() || network.Addr().Is4In6() || network.Addr().Zone() != "" {
			t.Fatalf("Network(%q) = %v", text, network)
		}
		if again, err := Network(network.String()); err != nil || again != network {
			t.Fatalf("Network(%q) = %v, %v", network, again, err)
		}
		if !network.Contains(network.Addr()) {
			t.Fatalf("%v does not contain its own address", network)
		}
	})
}

func TestHostPattern(t *testing.T) {
	tests := map[string]struct {
		pattern, authority string
		want               bool
	}{
		"the name":                  {"shop.example.com", "shop.example.com", true},
		"upper case":                {"Shop.Example.com", "SHOP.example.COM", true},
		"a port":                    {"shop.example.com", "shop.example.com:8443", true},
		"an empty port":             {"shop.example.com", "shop.example.com:", true},
		"a dot":                     {"shop.example.com", "shop.example.com.", true},
		"a port that is none":       {"shop.example.com", "shop.example.com:x", false},
		"two ports":                 {"shop.example.com", "shop.example.com:80:80", false},
		"another name":              {"shop.example.com", "shop.example.org", false},
		"a longer name":             {"shop.example.com", "a.shop.example.com", false},
		"below":                     {"*.example.com", "a.example.com", true},
		"far below":                 {"*.example.com", "a.b.example.com:80", true},
		"the domain itself":         {"*.example.com", "example.com", false},
		"a name that ends so":       {"*.example.com", "badexample.com", false},
		"an empty label below":      {"*.example.com", ".example.com", false},
		"an empty label far below":  {"*.example.com", "a..example.com", false},
		"a space":                   {"*.example.com", "a b.example.com", false},
		"a user":                    {"*.example.com", "u@a.example.com", false},
		"a null byte":               {"*.example.com", "a\x00.example.com", false},
		"a Kelvin sign":             {"shop.example.com", "\u212ashop.example.com", false},
		"a long s":                  {"shop.example.com", "\u017fhop.example.com", false},
		"a full-width dot":          {"shop.example.com", "shop\uff0eexample.com", false},
		"IPv4":                      {"192.0.2.7", "192.0.2.7:80", true},
		"IPv6":                      {"localhost", "[::1]:80", false},
		"empty":                     {"localhost", "", false},
		"a dot alone":               {"localhost", ".", false},
		"too long":                  {"*.example.com", strings.Repeat("a.", 130) + "example.com", false},
		"an underscore":             {"*.example.com", "a_b.example.com", true},
		"a wildcard in the request": {"*.example.com", "*.example.com", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, err := ParseHostPattern(tt.pattern)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Match(Host(tt.authority)); got != tt.want {
				t.Errorf("%q matches %q: %v; want %v", tt.pattern, tt.authority, got, tt.want)
			}
		})
	}
	if (HostPattern{}).Match("") || (HostPattern{below: true}).Match("") {
		t.Error("the zero pattern matches a request without a host")
	}
}

// FuzzHost checks that a pattern matches only the names that it names, and that no name gets lost by its spelling.
func FuzzHost(f *testing.F) {
	f.Add("*.example.com", "a.example.com:80")
	f.Add("shop.example.com", "SHOP.example.com.")
	f.Add("localhost", "[::1]:80")
	f.Fuzz(func(t *testing.T, pattern, authority string) {
		host := Host(authority)
		if host != strings.ToLower(host) || strings.ContainsAny(host, ":/@ []*") || strings.HasSuffix(host, ".") || len(host) > maxHost {
			t.Fatalf("Host(%q) = %q", authority, host)
		}
		if host != "" && Host(host) != host {
			t.Fatalf("Host(%q) = %q", host, Host(host))
		}
		p, err := ParseHostPattern(pattern)
		if err != nil {
			return
		}
		name, below := strings.CutPrefix(strings.ToLower(pattern), "*.")
		want := host == name && !below || below && strings.HasSuffix(host, "."+name) && len(host) > len(name)+1
		if got := p.Match(host); got != want {
			t.Fatalf("%q matches %q: %v; want %v", pattern, host, got, want)
		}
		if !below {
			if _, err := netip.ParseAddr(name); err != nil && !p.Match(Host(strings.ToUpper(name)+".:8080")) {
				t.Fatalf("%q does not match itself", pattern)
			}
		}
	})
}
