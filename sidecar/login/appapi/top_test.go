package appapi

import (
	"time"

	"github.com/posterndev/postern/sidecar/usage"
)

// someTop has an entry in each list.
func someTop(int) any {
	last := time.Unix(1000, 0).UTC()
	addresses := []usage.Address{{Address: "192.0.2.1", Count: 3, AtMost: 4, Last: last}}
	return usage.Top{
		FailedLogins: usage.FailedLogins{Accounts: []usage.Account{{Account: "ada", Count: 1, AtMost: 2, Last: last}}, Addresses: addresses},
		Refusals:     usage.Refusals{Addresses: addresses},
		Routes:       []usage.Route{{Route: "/orders/*", Count: 5}},
	}
}
