package usage

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/clientnet"
	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/usage/pattern"
	"github.com/posterndev/postern/sidecar/usage/topk"
)

// MaxTop is how many entries each list of a Top has.
const MaxTop = 50

// Top is what failed most often, of this process and recently: an event counts half after 30 minutes. It is the body of GET /v1/top.
type Top struct {
	FailedLogins FailedLogins `json:"failedLogins"`
	Refusals     Refusals     `json:"refusals"`
	// Routes are the patterns with the most requests since the process started.
	Routes []Route `json:"routes"`
}

// FailedLogins are the accounts, in their canonical form, and the addresses with the most failed logins.
type FailedLogins struct {
	Accounts  []Account `json:"accounts"`
	Addresses []Address `json:"addresses"`
}

// Refusals are the addresses with the most refused requests.
type Refusals struct {
	Addresses []Address `json:"addresses"`
}

// Account is an account that clients named at logins. Count is how often at least, and AtMost how often at most: the rarest of many share their
// counts. Last is the time of the last event.
type Account struct {
	Account string    `json:"account"`
	Count   int64     `json:"count"`
	AtMost  int64     `json:"atMost"`
	Last    time.Time `json:"last"`
}

// Address is an IPv4 address, or the /64 of IPv6 addresses. See Account.
type Address struct {
	Address string    `json:"address"`
	Count   int64     `json:"count"`
	AtMost  int64     `json:"atMost"`
	Last    time.Time `json:"last"`
}

// Route is a pattern with its requests.
type Route struct {
	Route string `json:"route"`
	Count uint64 `json:"count"`
}

// Top returns up to limit entries of each list; limit is bounded by MaxTop.
func (u *Usage) Top(limit int) Top {
	limit = min(max(limit, 0), MaxTop)
	t := Top{FailedLogins{[]Account{}, []Address{}}, Refusals{[]Address{}}, []Route{}}
	for _, c := range u.accounts.Top(limit) {
		t.FailedLogins.Accounts = append(t.FailedLogins.Accounts, Account{c.Key, events(c.AtLeast), events(c.AtMost), c.Last.UTC()})
	}
	t.FailedLogins.Addresses = append(t.FailedLogins.Addresses, addresses(u.logins.Top(limit))...)
	t.Refusals.Addresses = append(t.Refusals.Addresses, addresses(u.refusals.Top(limit))...)
	u.routes.Each(func(e pattern.Entry[counts]) {
		if n := e.Value.total(); n > 0 {
			t.Routes = append(t.Routes, Route{e.Pattern, n})
		}
	})
	slices.SortFunc(t.Routes, func(a, b Route) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Route, b.Route)) })
	t.Routes = t.Routes[:min(limit, len(t.Routes))]
	return t
}

func addresses(counts []topk.Count) (list []Address) {
	for _, c := range counts {
		list = append(list, Address{c.Key, events(c.AtLeast), events(c.AtMost), c.Last.UTC()})
	}
	return list
}

func events(decayed float64) int64 { return int64(math.Round(decayed)) }

// network returns the text of what counts as one client.
func network(e event.Event) string {
	p := clientnet.Of(e.ClientAddr)
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}
