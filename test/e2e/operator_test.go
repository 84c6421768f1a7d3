//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/controllers/render"
)

// versioned refuses all requests except on /public. X-Round shows which of its versions a pod enforces.
const versioned = open + `
  authorization:
    default: Deny
    rules: [{name: public, match: [{paths: [/public/**]}], require: Anonymous}]
`

// testOperatorOutage: while no operator runs, pods are guarded as before. They accept documents from the mounted ConfigMap, but
// only those that the operator signed.
func testOperatorOutage(t *testing.T) {
	s := newSpace(t)
	s.apply(versioned, "ROUND", "1")
	s.create(pod(s.name, "orders"))
	p := s.ready("orders")
	s.enforced("orders", 1)
	s.wantRound(p, "1")
	t.Cleanup(func() {
		if _, err := kubectl("scale", "deployment/postern-operator", "-n", systemNamespace, "--replicas=2"); err != nil {
			t.Error(err)
		}
	})

	t.Run("document from the mounted file", func(t *testing.T) { s.in(t).checkMountedFile(p) })
	t.Run("sidecar restarted", func(t *testing.T) { s.in(t).checkSidecarRestart(p, "2") })
	t.Run("new pods are refused", func(t *testing.T) {
		err := s.c.Create(t.Context(), pod(s.name, "orders-new"))
		if err == nil || !strings.Contains(err.Error(), "postern") {
			t.Errorf("got %v, want a refusal by the webhook", err)
		}
	})
	t.Run("edited ConfigMap", func(t *testing.T) { s.in(t).checkTampering(p) })
}

// checkMountedFile: the connection to the operator is cut, so that the pod's sidecar gets the operator's change only from the
// file. Then the operator is stopped.
func (s *space) checkMountedFile(p *corev1.Pod) {
	mend := s.cutOff(p)
	old := s.document()
	s.apply(versioned, "ROUND", "2")
	eventually(s.t, "waiting for the operator to write the document", func() error {
		if s.document() == old {
			return errors.New("the ConfigMap has the old document")
		}
		return nil
	})
	s.scaleOperator(0)
	start := time.Now()
	s.refreshVolumes(p)
	s.waitRound(p, "2")
	measured(s.t, "document from the mounted file, operator unavailable: %v after the kubelet looked at the pod", since(start))
	s.wantRound(p, "2")
	mend()
}

// cutOff drops the packets between the pod and the operator, until mend is called.
func (s *space) cutOff(p *corev1.Pod) (mend func()) {
	s.t.Helper()
	o := s.operator(p)
	inside := strings.Replace(strings.TrimSuffix(o.url, compiled.PollPath), "https:", "http:", 1) // any response will do
	if out, _ := s.ask(p, inside); !strings.Contains(out, "HTTP/1") {
		s.t.Fatalf("the pod does not reach the operator at all: %s", out)
	}
	mend = func() { _, _ = onNode("nft", "delete", "table", "inet", s.name) }
	s.t.Cleanup(mend)
	rules := fmt.Sprintf(`table inet %s {
		chain cut {
			type filter hook forward priority -200
			ip saddr %[2]s tcp dport { 9443, 9444 } drop
			ip daddr %[2]s tcp sport { 9443, 9444 } drop
		}
	}`, s.name, p.Status.PodIP)
	if out, err := onNode("nft", rules); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
	if out, _ := s.ask(p, "-timeout", "2s", inside); strings.Contains(out, "HTTP/1") {
		s.t.Fatalf("the pod still reaches the operator: %s", out)
	}
	return mend
}

// checkSidecarRestart: a sidecar that starts without an operator enforces the mounted document, and no request passes before
// that.
func (s *space) checkSidecarRestart(p *corev1.Pod, round string) {
	restarts := s.sidecarStatus(p).RestartCount
	s.kill(p)
	eventually(s.t, "waiting for the sidecar to start again", func() error {
		if got, err := send(s.t, http.MethodGet, podURL(p, appPort)+"/private", ""); err == nil && got.status == http.StatusOK {
			s.t.Error("a request passed while the sidecar was unavailable")
		}
		if st := s.sidecarStatus(p); st.RestartCount == restarts || !st.Ready {
			return fmt.Errorf("%d restarts, ready=%t", st.RestartCount, st.Ready)
		}
		return nil
	})
	s.wantRound(p, round)
}

// checkTampering: a document that the operator did not sign is refused, by a running sidecar and by one that has no other
// document. When the operator runs again, it repairs the ConfigMap.
func (s *space) checkTampering(p *corev1.Pod) {
	good := s.document()
	edited := strings.Replace(good, `"default": "Deny"`, `"default": "Anonymous"`, 1)
	if edited == good {
		s.t.Fatalf("nothing to edit in %s", good)
	}
	cm := &corev1.ConfigMap{}
	if err := s.c.Get(s.t.Context(), s.key(render.ConfigMapName("orders")), cm); err != nil {
		s.t.Fatal(err)
	}
	cm.Data[compiled.DocumentKey] = edited
	if err := s.c.Update(s.t.Context(), cm); err != nil {
		s.t.Fatal(err)
	}
	s.refreshVolumes(p)
	eventually(s.t, "waiting for the sidecar to refuse the edited document", func() error {
		out, err := kubectl("logs", "-n", s.name, p.Name, "-c", render.SidecarName)
		if err == nil && !strings.Contains(out, "signature does not match") {
			err = fmt.Errorf("no such problem is reported")
		}
		return err
	})
	s.wantRound(p, "2")

	s.kill(p)
	got := eventuallyStatus(s.t, http.StatusServiceUnavailable, podURL(p, appPort)+"/public/x")
	if !strings.Contains(got.body, "no-policy") {
		s.t.Errorf("without a document the sidecar says %s", got.body)
	}
	s.scaleOperator(2)
	eventuallyStatus(s.t, http.StatusOK, podURL(p, appPort)+"/public/x")
	s.wantRound(p, "2")
	eventually(s.t, "waiting for the operator to repair the ConfigMap", func() error {
		if now := s.document(); !strings.Contains(now, `"default": "Deny"`) {
			return fmt.Errorf("it has %s", now)
		}
		return nil
	})
	s.enforced("orders", 1)
}

// wantRound fails the test if the pod does not enforce that version.
func (s *space) wantRound(p *corev1.Pod, round string) {
	s.t.Helper()
	for path, status := range map[string]int{"/public/x": 200, "/private": 403} {
		got := get(s.t, podURL(p, appPort)+path).wantStatus(s.t, status)
		if v := got.header.Get("X-Round"); v != round {
			s.t.Errorf("%s: version %q is enforced, want %q", path, v, round)
		}
	}
}

// document returns the document in the policy's ConfigMap.
func (s *space) document() string {
	s.t.Helper()
	cm := &corev1.ConfigMap{}
	if err := s.c.Get(s.t.Context(), s.key(render.ConfigMapName("orders")), cm); err != nil {
		s.t.Fatal(err)
	}
	return cm.Data[compiled.DocumentKey]
}

// refreshVolumes makes the kubelet sync the pod and its volumes now, not only within the next minute.
func (s *space) refreshVolumes(p *corev1.Pod) {
	s.t.Helper()
	if _, err := kubectl("annotate", "pod", "-n", s.name, p.Name, "--overwrite", "e2e/look="+time.Now().Format("150405.000")); err != nil {
		s.t.Fatal(err)
	}
}

func (s *space) sidecarStatus(p *corev1.Pod) corev1.ContainerStatus {
	s.t.Helper()
	now := &corev1.Pod{}
	if err := s.c.Get(s.t.Context(), client.ObjectKeyFromObject(p), now); err != nil {
		s.t.Fatal(err)
	}
	for _, st := range now.Status.InitContainerStatuses {
		if st.Name == render.SidecarName {
			return st
		}
	}
	s.t.Fatalf("pod %s has no sidecar", p.Name)
	return corev1.ContainerStatus{}
}

// kill kills the sidecar's process from the node. Inside of the pod no signal would reach it.
func (s *space) kill(p *corev1.Pod) {
	s.t.Helper()
	id := strings.TrimPrefix(s.sidecarStatus(p).ContainerID, "containerd://")
	out, err := onNode("ctr", "--address", "/run/containerd.sock", "--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", id)
	if err != nil {
		s.t.Fatalf("killing the sidecar: %v: %s", err, out)
	}
}

// onNode runs a command on the cluster's node.
func onNode(command ...string) (string, error) {
	out, err := exec.Command("../../hack/cluster/exec.sh", append([]string{"-c", clusterName()}, command...)...).CombinedOutput()
	return string(out), err
}

// scaleOperator stops all pods of the operator, or starts the given number and waits until they serve.
func (s *space) scaleOperator(replicas int32) {
	s.t.Helper()
	operator := &appsv1.Deployment{}
	key := client.ObjectKey{Namespace: systemNamespace, Name: "postern-operator"}
	if err := s.c.Get(s.t.Context(), key, operator); err != nil {
		s.t.Fatal(err)
	}
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas))
	if err := s.c.Patch(s.t.Context(), operator, patch); err != nil {
		s.t.Fatalf("scaling the operator to %d: %v", replicas, err)
	}
	selector := client.MatchingLabels(operator.Spec.Selector.MatchLabels)
	eventually(s.t, fmt.Sprintf("waiting for %d operators", replicas), func() error {
		pods := &corev1.PodList{}
		if err := s.c.List(s.t.Context(), pods, client.InNamespace(systemNamespace), selector); err != nil {
			return err
		}
		if err := s.c.Get(s.t.Context(), key, operator); err != nil {
			return err
		}
		if len(pods.Items) != int(replicas) || operator.Status.ReadyReplicas != replicas {
			return fmt.Errorf("there are %d pods, %d of them ready", len(pods.Items), operator.Status.ReadyReplicas)
		}
		return nil
	})
}
