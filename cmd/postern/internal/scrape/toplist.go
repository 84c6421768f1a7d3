package scrape

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Top is the response of a sidecar's GET /v1/top.
type Top struct {
	FailedLogins struct {
		Accounts  []Counted `json:"accounts"`
		Addresses []Counted `json:"addresses"`
	} `json:"failedLogins"`
	Refusals struct {
		Addresses []Counted `json:"addresses"`
	} `json:"refusals"`
}

// Counted is an account or an address with how often it was counted. Counts decay: an event counts half after 30 minutes.
type Counted struct {
	Account string    `json:"account,omitempty"`
	Address string    `json:"address,omitempty"`
	Count   int64     `json:"count"`
	Last    time.Time `json:"last"`
}

// Lists are the lists of several sidecars together.
type Lists struct {
	Accounts  []Counted `json:"accounts,omitempty"`
	Addresses []Counted `json:"addresses,omitempty"`
	Refused   []Counted `json:"refused,omitempty"`
}

// ParseTop reads a response.
func ParseTop(b []byte) (Top, error) {
	var t Top
	if err := json.Unmarshal(b, &t); err != nil {
		return Top{}, fmt.Errorf("reading the top list: %w", err)
	}
	return t, nil
}

// Merge adds up the lists of several sidecars, and keeps the first limit entries of each.
func Merge(tops []Top, limit int) Lists {
	var out Lists
	for _, t := range tops {
		out.Accounts = append(out.Accounts, t.FailedLogins.Accounts...)
		out.Addresses = append(out.Addresses, t.FailedLogins.Addresses...)
		out.Refused = append(out.Refused, t.Refusals.Addresses...)
	}
	out.Accounts, out.Addresses, out.Refused = merge(out.Accounts, limit), merge(out.Addresses, limit), merge(out.Refused, limit)
	return out
}

func merge(all []Counted, limit int) []Counted {
	index := map[string]int{}
	var out []Counted
	for _, c := range all {
		key := c.Account + "\x00" + c.Address
		i, ok := index[key]
		if !ok {
			index[key] = len(out)
			out = append(out, c)
			continue
		}
		out[i].Count += c.Count
		if c.Last.After(out[i].Last) {
			out[i].Last = c.Last
		}
	}
	slices.SortFunc(out, func(a, b Counted) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), b.Last.Compare(a.Last), strings.Compare(a.Account+a.Address, b.Account+b.Address))
	})
	return out[:min(len(out), limit)]
}
