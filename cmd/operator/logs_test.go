package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// lines collects the operator's log, as JSON.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// find returns the first line with the message and these values.
func (l *lines) find(message string, values map[string]string) (map[string]any, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for text := range strings.Lines(l.text.String()) {
		var line map[string]any
		if json.Unmarshal([]byte(text), &line) != nil || line["msg"] != message {
			continue
		}
		found := true
		for key, want := range values {
			found = found && line[key] == want
		}
		if found {
			return line, nil
		}
	}
	return nil, fmt.Errorf("no line %q with %v in\n%s", message, values, l.text.String())
}

// TestLogAttributes checks that log lines of a reconcile have its id and object, and that those of an admission have the request's.
func TestLogAttributes(t *testing.T) {
	log := &lines{}
	stop := runOperator(t, log, "--log-format=json", "--log-level=debug")
	ns := newNamespace(t, "logs", enabled())
	policy := accepting(ns, "accounts")
	create(t, policy)
	wantCondition(t, policy, v1alpha1.ConditionProgrammed, yes, v1alpha1.ReasonProgrammed)
	pod := newPod(ns, "accounts-1", "accounts")
	create(t, pod)
	running(t, sidecarOf(t, pod), tokenOf(t, ns, pod, compiled.OperatorAudience))
	user := newRevocation(ns, "user-42", v1alpha1.TokenRevocationSpec{Subject: "user-42"})
	create(t, user)
	wantRevocation(t, user, v1alpha1.ConditionEnforced, yes, v1alpha1.ReasonEnforced)
	stop()

	tests := []struct {
		message string
		values  map[string]string
		// has are keys whose values differ in each run.
		has []string
	}{
		{"wrote a document", map[string]string{"level": "INFO", "controller": "policy", "namespace": ns, "name": "accounts"}, []string{"reconcileID", "revision", "hash"}},
		{"a revocation is enforced", map[string]string{"level": "INFO", "controller": "revocation", "namespace": ns, "tokenRevocation": "user-42"}, []string{"reconcileID"}},
		{"pod injected", map[string]string{"level": "DEBUG", "namespace": ns, "name": "accounts-1", "policy": "accounts"}, []string{"requestID"}},
		{"serving with a new certificate", map[string]string{"level": "INFO"}, []string{"notAfter"}},
	}
	for _, tt := range tests {
		line, err := log.find(tt.message, tt.values)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, key := range tt.has {
			if text := fmt.Sprint(line[key]); line[key] == nil || text == "" {
				t.Errorf("%q has no %s: %v", tt.message, key, line)
			}
		}
	}
}
