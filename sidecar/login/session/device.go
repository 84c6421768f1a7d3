package session

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"github.com/mileusna/useragent"
)

const (
	// maxUserAgent and maxName bound the stored parts of a User-Agent, in bytes.
	maxUserAgent = 512
	maxName      = 64
)

// Device is the device of a login. All fields but Address are from the User-Agent, which the client can choose.
type Device struct {
	// UserAgent is the request's header field, limited to 512 bytes of printable text.
	UserAgent string
	// Browser and OS are names without versions; empty if unknown.
	Browser, OS string
	// Address is the client's address as determined by trusted proxies.
	Address netip.Addr
}

// NewDevice parses a User-Agent field.
func NewDevice(userAgent string, address netip.Addr) Device {
	d := Device{UserAgent: clean(userAgent, maxUserAgent), Address: address.WithZone("")}
	parsed := useragent.Parse(d.UserAgent)
	d.Browser, d.OS = clean(parsed.Name, maxName), clean(parsed.OS, maxName)
	return d
}

// clean limits s to limit bytes and removes unprintable characters, because the text is shown to users.
func clean(s string, limit int) string {
	var b strings.Builder
	for _, r := range s {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			continue
		}
		if b.Len()+utf8.RuneLen(r) > limit {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Bind is how a session is bound to its device.
type Bind string

// None does not bind. UserAgent compares the names of browser and OS, so that a browser update has no effect, or the whole field
// if these are unknown. Address compares the client's address.
const (
	BindNone      Bind = "None"
	BindUserAgent Bind = "UserAgent"
	BindAddress   Bind = "Address"
)

// check returns an error for an unknown Bind.
func (b Bind) check() error {
	if b != BindNone && b != BindUserAgent && b != BindAddress {
		return fmt.Errorf("bind %q must be %s, %s or %s", b, BindNone, BindUserAgent, BindAddress)
	}
	return nil
}

// agent returns the text that BindUserAgent compares.
func (d Device) agent() string {
	if d.Browser == "" || d.OS == "" {
		return d.UserAgent
	}
	return d.OS + "/" + d.Browser
}

// Tie returns the text by which b compares devices: two devices are the same under b if their texts are equal.
func (b Bind) Tie(d Device) string {
	switch b {
	case BindUserAgent:
		return d.agent()
	case BindAddress:
		return d.Address.String()
	default:
		return ""
	}
}
