//go:build e2e

package e2e

import (
	"crypto/sha1" //nolint:gosec // the format of the list
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/posterndev/postern/api/v1alpha1"
)

// listed judges new passwords, and looks them up at a login to a route that shows what the app got. RULES and
// LOGIN stand for the lists.
const listed = `
apiVersion: postern.dev/v1alpha1
kind: SecurityPolicy
metadata: {name: orders}
spec:
  selector: {matchLabels: {app: orders}}
  rollout: ROLLOUT
  passwordPolicy:
    rules: {RULES}
    routes: [{match: [{paths: [/register]}], password: {json: password}}]
  loginProtection:
    routes: [{name: login, match: [{methods: [POST], paths: [/session]}], account: {json: email}, password: {json: password}}]
LOGIN`

const breachedPassword = "Velvet-Harbour-77-Lantern"

// testBreachedFile: a claim that a policy names is mounted into the sidecar, also of a workload that ran before, and the list on it decides.
func testBreachedFile(t *testing.T) {
	s := newSpace(t)
	s.volume("breached", "pwned.txt", breachedPassword)
	s.apply(listed, "ROLLOUT", "Manual", "RULES", "", "LOGIN", "")
	s.deploy("orders", 2)
	s.rolledOut("orders")
	s.enforced("orders", 2)
	registers := func(password string, status int, text string) {
		t.Helper()
		eventually(t, fmt.Sprintf("waiting for status %d and %q", status, text), func() error {
			got, err := send(t, http.MethodPost, s.serviceURL("orders")+"/register", fmt.Sprintf(`{"email":"ada@example.com","password":%q}`, password), "Content-Type: application/json")
			if err == nil && (got.status != status || !strings.Contains(got.body, text)) {
				err = errStatus(got)
			}
			return err
		})
	}
	registers(breachedPassword, http.StatusCreated, "")

	file := "file: {claimName: breached, path: pwned.txt}"
	rules, login := "breachedPasswords: {"+file+", onFailure: Deny}", "    breachedPasswords: {"+file+"}\n"
	s.apply(listed, "ROLLOUT", "Manual", "RULES", rules, "LOGIN", login)
	s.hasCondition("orders", v1alpha1.ConditionEnforced, metav1.ConditionFalse, v1alpha1.ReasonPodsOutdated, "restart")
	registers("orbit-lantern-crayon-fjord", http.StatusServiceUnavailable, "password-check-unavailable") // by pods without the volume

	s.apply(listed, "ROLLOUT", "Automatic", "RULES", rules, "LOGIN", login)
	s.enforced("orders", 2)
	s.rolledOut("orders")
	registers(breachedPassword, http.StatusUnprocessableEntity, `"breached"`)
	registers("orbit-lantern-crayon-fjord", http.StatusCreated, "")
	for password, want := range map[string]string{breachedPassword: "true", "orbit-lantern-crayon-fjord": ""} {
		// A pod that has just been replaced may still get connections.
		eventually(t, "waiting for the login with "+password, func() error {
			got, err := send(t, http.MethodPost, s.serviceURL("orders")+"/session", fmt.Sprintf(`{"email":"ada@example.com","password":%q}`, password),
				"Content-Type: application/json", "Postern-Password-Breached: forged")
			if err != nil || got.status != http.StatusOK {
				return errors.Join(err, errStatus(got))
			}
			if told := got.seen(t).Headers.Get("Postern-Password-Breached"); told != want {
				return fmt.Errorf("the app is told %q; want %q", told, want)
			}
			return nil
		})
	}
	for _, p := range s.pods("orders") {
		for _, c := range p.Spec.Containers {
			for _, m := range c.VolumeMounts {
				if strings.HasPrefix(m.Name, "postern-") {
					t.Errorf("the container %s mounts %s", c.Name, m.Name)
				}
			}
		}
	}
}

// volume creates a claim with a static volume, a folder of the node that has a list of these passwords.
func (s *space) volume(claim, file string, passwords ...string) {
	s.t.Helper()
	dir := s.t.TempDir()
	var list strings.Builder
	for _, p := range passwords {
		fmt.Fprintf(&list, "%X:7\n", sha1.Sum([]byte(p))) //nolint:gosec // the format of the list
	}
	if err := os.WriteFile(filepath.Join(dir, file), []byte(list.String()), 0o644); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	size := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")}
	modes := []corev1.PersistentVolumeAccessMode{corev1.ReadOnlyMany}
	name := s.name + "-" + claim
	s.create(&corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeSpec{
		Capacity: size, AccessModes: modes, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
		ClaimRef:               &corev1.ObjectReference{Namespace: s.name, Name: claim},
		PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir, Type: ptr.To(corev1.HostPathDirectory)}},
	}})
	s.t.Cleanup(func() { _, _ = kubectl("delete", "persistentvolume", name, "--wait=false") })
	s.create(&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: claim}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: modes, StorageClassName: ptr.To(""), VolumeName: name, Resources: corev1.VolumeResourceRequirements{Requests: size},
	}})
}
