package session

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"github.com/mileusna/useragent"
)

const (
	// maxUserAgent and maxName bound what a client's User-Agent takes in a store, in bytes.
	maxUserAgent = 512
	maxName      = 64
)

// Device is what a login came from. Everything in it but Address is what the client says of itself.
type Device struct {
	// UserAgent is the request's field, cut to 512 bytes of printable text.
	UserAgent string
	// Browser and OS are names without versions; empty where the field tells none.
	Browser, OS string
	// Address is the client's address after trusted proxies.
	Address netip.Addr
}

// NewDevice reads a User-Agent field.
func NewDevice(userAgent string, address netip.Addr) Device {
	d := Device{UserAgent: clean(userAgent, maxUserAgent), Address: address.WithZone("")}
	parsed := useragent.Parse(d.UserAgent)
	d.Browser, d.OS = clean(parsed.Name, maxName), clean(parsed.OS, maxName)
	return d
}

// clean cuts s to max bytes and leaves out what is not printable: it is shown to people.
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

// Bind is what ties a session to its device.
type Bind string

// None ties nothing. UserAgent compares the names of browser and OS, or the whole field where it names none, so that an
// update of the browser changes nothing. Address compares the client's address.
const (
	BindNone      Bind = "None"
	BindUserAgent Bind = "UserAgent"
	BindAddress   Bind = "Address"
)

// check returns an error for an unknown Bind.
func (b Bind) check() error {
	if b != BindNone && b != BindUserAgent && b != BindAddress {
		return fmt.Errorf("device binding %q is not %s, %s or %s", b, BindNone, BindUserAgent, BindAddress)
	}
	return nil
}

// agent is what BindUserAgent compares.
func (d Device) agent() string {
	if d.Browser == "" || d.OS == "" {
		return d.UserAgent
	}
	return d.OS + "/" + d.Browser
}

// Tie is the text by which b compares a device; two devices are the same under b if it is.
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
