package vaulttest

import (
	"strings"
	"testing"

	"github.com/posterndev/postern/test/servertest"
)

// Link is a loopback port that forwards to a server. It can be slowed down or cut.
type Link struct {
	*servertest.Link
	// Address is https://127.0.0.1:port.
	Address string
}

// NewLink returns a Link to s that ends with the test.
func NewLink(tb testing.TB, s *Server) *Link {
	tb.Helper()
	link := servertest.NewLink(tb, strings.TrimPrefix(s.Address, "https://"))
	return &Link{Link: link, Address: "https://" + link.Addr}
}
