package session

import (
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
	safari  = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
	edge    = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0"
)

func TestNewDevice(t *testing.T) {
	tests := map[string]struct{ agent, wantBrowser, wantOS string }{
		"firefox": {firefox, "Firefox", "Linux"},
		"safari":  {safari, "Safari", "iOS"},
		"edge":    {edge, "Edge", "Windows"},
		"none":    {"", "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := NewDevice(tt.agent, netip.MustParseAddr("fe80::1%eth0"))
			if d.Browser != tt.wantBrowser || d.OS != tt.wantOS || d.UserAgent != tt.agent || d.Address.Zone() != "" {
				t.Errorf("device %+v", d)
			}
		})
	}
}

func TestTie(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	tests := map[string]struct {
		bind Bind
		x, y Device
		want bool
	}{
		"none":                    {BindNone, NewDevice(firefox, a), NewDevice(safari, b), true},
		"a browser update":        {BindUserAgent, NewDevice(firefox, a), NewDevice(strings.ReplaceAll(firefox, "128", "129"), b), true},
		"another browser":         {BindUserAgent, NewDevice(firefox, a), NewDevice(safari, a), false},
		"the same program":        {BindUserAgent, NewDevice("curl/8.5.0", a), NewDevice("curl/8.5.0", b), true},
		"another program":         {BindUserAgent, NewDevice("curl/8.5.0", a), NewDevice("wget/1.21", b), false},
		"no user agent":           {BindUserAgent, NewDevice(firefox, a), NewDevice("", a), false},
		"same address":            {BindAddress, NewDevice(firefox, a), NewDevice(safari, a), true},
		"another address":         {BindAddress, NewDevice(firefox, a), NewDevice(firefox, b), false},
		"a browser without an OS": {BindUserAgent, Device{UserAgent: "x", Browser: "B"}, Device{UserAgent: "y", Browser: "B"}, false},
	}
	for name, tt := range tests {
		if got := tt.bind.Tie(tt.x) == tt.bind.Tie(tt.y); got != tt.want {
			t.Errorf("%s: same device: %v; want %v", name, got, tt.want)
		}
	}
}

func FuzzNewDevice(f *testing.F) {
	for _, agent := range []string{firefox, safari, edge, "", "(((", "a/b (c;d) e/", "\x00\xff", strings.Repeat("a(", 400)} {
		f.Add(agent)
	}
	f.Fuzz(func(t *testing.T, agent string) {
		d := NewDevice(agent, netip.Addr{})
		for _, s := range []string{d.UserAgent, d.Browser, d.OS} {
			if len(s) > maxUserAgent || !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\r\n\x7f") {
				t.Errorf("%q gives %q", agent, s)
			}
		}
	})
}
