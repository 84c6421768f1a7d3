package session

import (
	"encoding/json"
	"time"
)

// Resource is a session as the HTTP APIs return it.
type Resource struct {
	ID string `json:"id"`
	// Current marks the session of the request.
	Current bool `json:"current"`
	// Browser and OS are empty if the User-Agent does not tell. Address is the client's address.
	Browser   string `json:"browser,omitempty"`
	OS        string `json:"os,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
	Address   string `json:"address,omitempty"`
	// FirstSeen is the time of the login. LastSeen can lag by the interval in which updates are coalesced.
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
	// Expires is when the session ends if it is not used, at the latest AbsoluteExpiry.
	Expires        time.Time `json:"expires"`
	AbsoluteExpiry time.Time `json:"absolute_expiry"`
	// Claims are those of the login, a JSON object. Lists do not have them.
	Claims json.RawMessage `json:"claims,omitempty"`
}

// Resources returns sessions as the HTTP APIs return them; current is the id of the session that asks, or empty.
func Resources(sessions []Session, current string) []Resource {
	resources := make([]Resource, 0, len(sessions))
	for _, s := range sessions {
		v := Resource{
			ID: s.ID, Current: s.ID == current, Browser: s.Device.Browser, OS: s.Device.OS, UserAgent: s.Device.UserAgent,
			FirstSeen: s.Created.UTC(), LastSeen: s.LastSeen.UTC(), Expires: s.IdleExpiry.UTC(), AbsoluteExpiry: s.AbsoluteExpiry.UTC(),
		}
		if s.Device.Address.IsValid() {
			v.Address = s.Device.Address.String()
		}
		resources = append(resources, v)
	}
	return resources
}
