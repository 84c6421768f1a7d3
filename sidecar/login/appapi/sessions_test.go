package appapi

import (
	"net/url"
	"testing"
)

func TestSessions(t *testing.T) {
	w := newWorld(t, passwords{})
	const subject = "a/b ü"
	path := "/v1/subjects/" + url.PathEscape(subject) + "/sessions"
	first, second := w.login(t, subject), w.login(t, subject)
	w.login(t, "b")
	status, response := w.call(t, "GET", path, nil)
	if list, _ := response["sessions"].([]any); status != 200 || len(list) != 2 {
		t.Fatalf("status %d, %v", status, response)
	}
	one := "/v1/sessions/" + first["session_id"].(string)
	for i, want := range []int{204, 404} {
		if status, _ := w.call(t, "DELETE", one, nil); status != want {
			t.Errorf("ending it, attempt %d: status %d; want %d", i+1, status, want)
		}
	}
	if status, response := w.call(t, "DELETE", path, nil); status != 200 || response["ended"] != 1.0 {
		t.Errorf("ending all: status %d, %v", status, response)
	}
	if last := w.revocations.entries[len(w.revocations.entries)-1]; last.Value != second["session_id"] {
		t.Errorf("revoked %v", last)
	}
	if status, response := w.call(t, "GET", "/v1/subjects/nobody/sessions", nil); status != 200 || len(response["sessions"].([]any)) != 0 {
		t.Errorf("unknown subject: status %d, %v", status, response)
	}
	w.sessions.err = errUnavailable
	for method, path := range map[string]string{"GET": path, "DELETE": path} {
		if status, _ := w.call(t, method, path, nil); status != 503 {
			t.Errorf("%s with the store unavailable: status %d", method, status)
		}
	}
	if status, _ := w.call(t, "DELETE", one, nil); status != 503 {
		t.Errorf("ending one with the store unavailable: status %d", status)
	}
}
