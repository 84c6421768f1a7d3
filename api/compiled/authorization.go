package compiled

// Conditions must all hold for the requests that an authorization rule matches. The zero value has none.
type Conditions struct {
	Claims []ClaimCondition `json:"claims,omitempty"`
	// Scopes are compared to the claim scope, or to scp if there is no scope.
	Scopes    *ClaimMembers `json:"scopes,omitempty"`
	Providers []string      `json:"providers,omitempty"`
	// ClientAddresses and NotClientAddresses are networks in CIDR notation, or addresses.
	ClientAddresses    []string          `json:"clientAddresses,omitempty"`
	NotClientAddresses []string          `json:"notClientAddresses,omitempty"`
	Hosts              []string          `json:"hosts,omitempty"`
	Headers            []HeaderCondition `json:"headers,omitempty"`
	// Expression is a condition in CEL; empty for none.
	Expression string `json:"expression,omitempty"`
}

// ClaimCondition is a claim with the members that it must have.
type ClaimCondition struct {
	Claim string `json:"claim"`
	ClaimMembers
}

// HeaderCondition is a condition for one request header: exactly one of Values, Prefix and Present is set.
type HeaderCondition struct {
	Name    string   `json:"name"`
	Values  []string `json:"values,omitempty"`
	Prefix  string   `json:"prefix,omitempty"`
	Present *bool    `json:"present,omitempty"`
}

// Any reports whether there is a condition.
func (c *Conditions) Any() bool {
	return c.NeedIdentity() || len(c.ClientAddresses)+len(c.NotClientAddresses)+len(c.Hosts)+len(c.Headers) > 0 || c.Expression != ""
}

// NeedIdentity reports whether there is a condition that no anonymous request meets.
func (c *Conditions) NeedIdentity() bool {
	return len(c.Claims)+len(c.Providers) > 0 || c.Scopes != nil
}
