package transition

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	"github.com/posterndev/postern/api/v1alpha1"
)

func TestTell(t *testing.T) {
	enforced := func(status metav1.ConditionStatus, reason string) []metav1.Condition {
		return []metav1.Condition{{Type: v1alpha1.ConditionEnforced, Status: status, Reason: reason, Message: "m"}}
	}
	typed := func(kind, reason string) []metav1.Condition {
		return []metav1.Condition{{Type: kind, Status: metav1.ConditionFalse, Reason: reason, Message: "m"}}
	}
	tests := map[string]struct {
		before, after []metav1.Condition
		want          string
	}{
		"nothing changed":                {enforced("True", "Enforced"), enforced("True", "Enforced"), ""},
		"new and False":                  {nil, enforced("False", "PodsOutdated"), ""},
		"new and True":                   {nil, enforced("True", "Enforced"), ""},
		"becomes True":                   {enforced("False", "PodsOutdated"), enforced("True", "Enforced"), "Normal Enforced m"},
		"becomes False":                  {enforced("True", "Enforced"), enforced("False", "PodsOutdated"), "Warning PodsOutdated m"},
		"changes its reason":             {enforced("False", "NotProgrammed"), enforced("False", "PodsOutdated"), "Normal PodsOutdated m"},
		"not accepted":                   {nil, typed("Accepted", "Invalid"), "Warning Invalid m"},
		"no Vault at first":              {nil, typed("VaultReady", "Sealed"), "Warning Sealed m"},
		"expired":                        {enforced("True", "Enforced"), enforced("False", "Expired"), "Normal Expired m"},
		"a certificate that has expired": {typed("CertificateReady", "Expiring"), typed("CertificateReady", "Expired"), "Warning Expired m"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			recorder := events.NewFakeRecorder(4)
			Record(recorder, &v1alpha1.SecurityPolicy{}, tt.before, tt.after)
			close(recorder.Events)
			if diff := cmp.Diff(tt.want, strings.TrimSpace(<-recorder.Events)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestNoEventsInNamespacesThatEnd(t *testing.T) {
	sent := events.NewFakeRecorder(4)
	recorder := &Recorder{Events: sent, Ending: func(namespace string) bool { return namespace == "ending" }}
	for _, namespace := range []string{"ending", "shop", ""} {
		recorder.Eventf(&v1alpha1.SecurityPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace}}, nil, "Normal", "R", "A", "%s", "in "+namespace)
	}
	close(sent.Events)
	var got []string
	for e := range sent.Events {
		got = append(got, e)
	}
	if diff := cmp.Diff([]string{"Normal R in shop", "Normal R in "}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestTruncate(t *testing.T) {
	for s, want := range map[string]string{"abc": "abc", "abcde": "abcd", "abcé": "abc"} {
		if got := truncate(s, 4); got != want {
			t.Errorf("%q becomes %q, want %q", s, got, want)
		}
	}
}
