package apikey

import "sync/atomic"

// Files are the files of a policy. A nil one is a file that the policy does not have.
type Files struct {
	Keys  Keys
	Users Users
}

// Current has the files of the active policy. Responses in progress are judged by them, and not by those of the policy that let the request
// pass, which nobody reads any more. The zero value judges nothing. It is safe for concurrent use.
type Current struct{ files atomic.Pointer[Files] }

// Set replaces the files. With nil, responses in progress are not judged.
func (c *Current) Set(f *Files) { c.files.Store(f) }

// judging returns the files that judge responses in progress, or nil. They are those of the stage itself if it has no Current.
func (a *authenticator) judging() *Files {
	if a.Current != nil {
		return a.Current.files.Load()
	}
	own := &Files{}
	if a.Keys != nil {
		own.Keys = a.Keys.Keys
	}
	if a.Users != nil {
		own.Users = a.Users.Users
	}
	return own
}
