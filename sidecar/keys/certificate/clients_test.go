package certificate

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/test/servertest"
)

// fakeSession is a connection of a client with a certificate.
type fakeSession struct {
	sent      []*x509.Certificate
	judgement any
}

func (s *fakeSession) Judgement() any { return s.judgement }
func (s *fakeSession) Judge(j any)    { s.judgement = j }

// replaced is a file that a test replaces.
type replaced[F any] struct{ f *F }

func (r *replaced[F]) File() (*F, error) {
	if r.f == nil {
		return nil, errors.New("absent")
	}
	return r.f, nil
}

// movedClock is a time that a test moves.
type movedClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *movedClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

const spiffe = "spiffe://example.org/ns/shop/sa/orders"

// session returns the connection of a client with a SPIFFE ID; change may change its certificate.
func session(t *testing.T, a *servertest.Authority, change func(*x509.Certificate)) *fakeSession {
	t.Helper()
	chain, _ := issue(t, a, func(c *x509.Certificate) {
		u, err := url.Parse(spiffe)
		if err != nil {
			t.Fatal(err)
		}
		c.URIs = []*url.URL{u}
		if change != nil {
			change(c)
		}
	})
	return &fakeSession{sent: []*x509.Certificate{first(t, chain)}}
}

func clientsOf(t *testing.T, a *servertest.Authority, change func(*Clients)) *Clients {
	t.Helper()
	authorities, err := ParseAuthorities(a.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	c := &Clients{Authorities: &replaced[Authorities]{authorities}, Identity: URISAN}
	if change != nil {
		change(c)
	}
	return c
}

// TestOwner: what a certificate says about its owner.
func TestOwner(t *testing.T) {
	a := newAuthority(t)
	shown := session(t, a, func(c *x509.Certificate) {
		c.DNSNames = []string{"orders.shop.svc", "orders"}
		c.Subject = pkix.Name{CommonName: "orders", Organization: []string{"Shop, Inc."}, OrganizationalUnit: []string{"a", "b"}}
	})
	for kind, want := range map[Kind]string{URISAN: spiffe, DNSSAN: "orders.shop.svc", Subject: `CN=orders,OU=a+OU=b,O=Shop\, Inc.`} {
		o, err := clientsOf(t, a, func(c *Clients) { c.Identity = kind }).Verify(shown, shown.sent)
		if err != nil || o.Subject != want || o.Claims["sub"] != want || len(o.Fingerprint) != 64 || o.Claims["cn"] != "orders" {
			t.Errorf("%s: %+v, %v; want %s", kind, o, err, want)
			continue
		}
		if list, _ := o.Claims["ou"].([]any); len(list) != 2 || list[1] != "b" {
			t.Errorf("%s: claims %v", kind, o.Claims)
		}
	}
	if o, err := clientsOf(t, a, func(c *Clients) { c.Identity = "" }).Verify(shown, shown.sent); o != nil || err != nil {
		t.Errorf("certificates identify nobody: %v, %v", o, err)
	}
	if o, err := clientsOf(t, a, nil).Verify(&fakeSession{}, nil); o != nil || err != nil {
		t.Errorf("no certificate: %v, %v", o, err)
	}
}

// TestVerifyAgain: a connection loses its owner when its certificate expires, when its CA is removed, and when it is revoked; and not while the files are not
// available.
func TestVerifyAgain(t *testing.T) {
	a, other, serial := newAuthority(t), newAuthority(t), big.NewInt(7)
	listOf := func(a *servertest.Authority, serials ...*big.Int) *Lists {
		b, err := a.Revoke(time.Now().Add(time.Hour), serials...)
		if err != nil {
			t.Fatal(err)
		}
		own, err := ParseAuthorities(a.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		l, err := ParseLists(b, own)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	bundle := func(texts ...[]byte) *Authorities {
		var all []byte
		for _, text := range texts {
			all = append(all, text...)
		}
		as, err := ParseAuthorities(all)
		if err != nil {
			t.Fatal(err)
		}
		return as
	}
	none, listed, foreign := listOf(a), listOf(a, big.NewInt(6), serial), listOf(other, serial)
	mine, theirs, both := bundle(a.Certificate), bundle(other.Certificate), bundle(a.Certificate, other.Certificate)
	tests := map[string]struct {
		authorities *Authorities
		lists       *Lists
		after       time.Duration
		want        error
	}{
		"nothing changes":       {mine, none, 0, nil},
		"it expires":            {mine, none, time.Hour, ErrExpired},
		"it is revoked":         {mine, listed, 0, ErrRevoked},
		"a list of another CA":  {mine, foreign, 0, nil},
		"another CA is added":   {both, none, 0, nil},
		"the CA is removed":     {theirs, none, 0, errAny},
		"no CAs are available":  {nil, none, 0, nil},
		"no list is available":  {mine, nil, 0, nil},
		"expired, no CAs":       {nil, none, time.Hour, ErrExpired},
		"revoked under two CAs": {both, listed, 0, ErrRevoked},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			authorities, lists, now := &replaced[Authorities]{mine}, &replaced[Lists]{none}, &movedClock{now: time.Now()}
			c := clientsOf(t, a, func(c *Clients) { c.Authorities, c.Lists, c.Now = authorities, lists, now.Now })
			s := session(t, a, func(c *x509.Certificate) { c.SerialNumber, c.NotAfter = serial, time.Now().Add(50*time.Minute) })
			if o, err := c.Verify(s, s.sent); err != nil || o.Subject != spiffe {
				t.Fatalf("at first: %v, %v", o, err)
			}
			authorities.f, lists.f, now.now = tt.authorities, tt.lists, time.Now().Add(tt.after)
			o, err := c.Verify(s, s.sent)
			if (err == nil) != (tt.want == nil) || tt.want != errAny && !errors.Is(err, tt.want) || (o == nil) != (tt.want != nil) {
				t.Errorf("%v, %v; want %v", o, err, tt.want)
			}
		})
	}
}

var errAny = errors.New("any")

// TestOtherPolicy: a policy that reads another part of the certificate gets another owner from the same connection.
func TestOtherPolicy(t *testing.T) {
	a := newAuthority(t)
	s := session(t, a, nil)
	for _, tt := range []struct {
		kind Kind
		want string
	}{{URISAN, spiffe}, {Subject, "CN=orders"}, {URISAN, spiffe}} {
		if o, err := clientsOf(t, a, func(c *Clients) { c.Identity = tt.kind }).Verify(s, s.sent); err != nil || o.Subject != tt.want {
			t.Errorf("%s: %v, %v; want %s", tt.kind, o, err, tt.want)
		}
	}
}
