package policy

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/deliver"
)

// TestAlteredSidecarIsNotEnforced checks that a pod counts as guarded only with the sidecar that the operator injects, whatever a
// process in it reports.
func TestAlteredSidecarIsNotEnforced(t *testing.T) {
	for name, edit := range map[string]func(redirect, sidecar *corev1.Container){
		"image changed while the pod runs": func(_, sidecar *corev1.Container) { sidecar.Image = "busybox" },
		"redirect of another image":        func(redirect, _ *corev1.Container) { redirect.Image = "busybox" },
		"runs once":                        func(_, sidecar *corev1.Container) { sidecar.RestartPolicy = nil },
		"another operator's key": func(_, sidecar *corev1.Container) {
			for i := range sidecar.Env {
				if sidecar.Env[i].Name == compiled.EnvDocumentKey {
					sidecar.Env[i].Value = "AAAA"
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.want(v1alpha1.ReasonEnforced, s.document(), false)
			edit(&s.pod.Spec.InitContainers[0], &s.pod.Spec.InitContainers[1])
			s.must(s.c.Update(t.Context(), s.pod))
			s.reconcile()
			s.want(v1alpha1.ReasonSidecarAltered, s.document(), true)
		})
	}
}

// TestOldReportIsNotEnforced checks that Enforced becomes False without any event when a sidecar stops reporting, True when it reports
// again, that an operator that was away does not take its own absence for silence, and that its restart ends no silence.
func TestOldReportIsNotEnforced(t *testing.T) {
	s := newScene(t)
	after := s.reconcile()
	if after <= 0 || after > deliver.MaxReportAge {
		t.Fatalf("the next reconcile is in %s, want one when the report becomes too old", after)
	}
	s.clock.SetTime(s.clock.Now().Add(after))
	again := s.reconcile()
	s.want(v1alpha1.ReasonReportTooOld, s.document(), true)
	if again != 0 {
		t.Errorf("a silent pod makes a reconcile in %s", again)
	}
	<-s.sent.Events
	s.report(s.document())
	s.reconcile()
	s.want(v1alpha1.ReasonEnforced, s.document(), true)

	s.clock.SetTime(s.clock.Now().Add(10 * deliver.MaxReportAge))
	s.r = newTestReconciler(s.c, s.clock)
	s.reconcile()
	s.want(v1alpha1.ReasonEnforced, s.document(), true)
	s.clock.SetTime(s.clock.Now().Add(deliver.MaxReportAge))
	s.reconcile()
	s.want(v1alpha1.ReasonReportTooOld, s.document(), true)

	for len(s.sent.Events) > 0 {
		<-s.sent.Events
	}
	s.r = newTestReconciler(s.c, s.clock) // a restart proves nothing about the sidecar
	s.reconcile()
	s.want(v1alpha1.ReasonReportTooOld, s.document(), false)
	s.report(s.document())
	s.reconcile()
	s.want(v1alpha1.ReasonEnforced, s.document(), false)
}
