package record

import (
	"slices"

	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// Acts of administrators: the reasons of events of the kind event.Admin, and the actions of their records.
const (
	IssueTokens     = "issue_tokens"
	RevokeAny       = "revoke"
	EndSession      = "end_session"
	EndSessions     = "end_sessions"
	ClearLoginLocks = "clear_login_locks"
	ExportSubject   = "export_subject"
	EraseSubject    = "erase_subject"
)

func acts() []string {
	return []string{IssueTokens, RevokeAny, EndSession, EndSessions, ClearLoginLocks, ExportSubject, EraseSubject}
}

// The actions of API keys, which no kind of event is for alone.
const (
	apiKeyUsed    = "api_key_used"
	apiKeyRefused = "api_key_refused"
)

// Reserved reports whether only a sidecar itself writes records with the action. An app that could use it could make a record that looks as if
// the sidecar had seen what it says.
func Reserved(action string) bool {
	for k := event.Kind(0); k.String() != "unknown"; k++ {
		if class, ok := recorded(k); ok && class.Action == action && action != "" {
			return true
		}
	}
	return action == apiKeyUsed || action == apiKeyRefused || slices.Contains(acts(), action)
}
