//go:build !nocluster

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/cmd/postern/internal/overview"
	"github.com/posterndev/postern/cmd/postern/internal/screen"
	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/render"
)

const testDocument = "sha256:0123456789abcdef"

// testPolicy returns a policy that the operator says is enforced.
func testPolicy(namespace, name string) *v1alpha1.SecurityPolicy {
	p := &v1alpha1.SecurityPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	p.Spec.Selector.MatchLabels = map[string]string{"app": name}
	p.Spec.Compression = &v1alpha1.Compression{}
	p.Status.ObservedGeneration, p.Status.Document = 1, testDocument
	for _, kind := range []string{"Ready", "Stalled", v1alpha1.ConditionAccepted, v1alpha1.ConditionProgrammed, v1alpha1.ConditionEnforced} {
		is := metav1.ConditionTrue
		if kind == "Stalled" {
			is = metav1.ConditionFalse
		}
		p.Status.Conditions = append(p.Status.Conditions, metav1.Condition{Type: kind, Status: is, Reason: kind, LastTransitionTime: metav1.Now()})
	}
	return p
}

// testPod returns a pod of the Deployment name, whose sidecar runs the document of the policy; without a sidecar if policy is empty.
func testPod(namespace, name, id, policy string) *corev1.Pod {
	controller := true
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name + "-7d8f9c-" + id, Labels: map[string]string{"app": name, "pod-template-hash": "7d8f9c"},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: name + "-7d8f9c", UID: "u", Controller: &controller}},
	}}
	pod.Spec.Containers = []corev1.Container{{Name: "app", Image: "example.com/app:1"}}
	if policy != "" {
		always := corev1.ContainerRestartPolicyAlways
		pod.Spec.InitContainers = []corev1.Container{{
			Name: render.SidecarName, Image: "example.com/sidecar:1", RestartPolicy: &always, Env: []corev1.EnvVar{{Name: compiled.EnvPolicy, Value: policy}},
		}}
		report, _ := json.Marshal(compiled.Report{Hash: testDocument, SchemaVersion: 1, Version: "v0.1.0"}) // it can be encoded
		pod.Status.Conditions = []corev1.PodCondition{{
			Type: deliver.ConditionSidecar, Status: corev1.ConditionTrue, Reason: deliver.ReasonEnforcing, Message: string(report),
			LastProbeTime: metav1.Now(), LastTransitionTime: metav1.Now(),
		}}
	}
	return pod
}

func testDeployment(namespace, name string, replicas int32) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	d.Spec.Replicas, d.Spec.Selector = &replicas, &metav1.LabelSelector{MatchLabels: labels}
	d.Spec.Template.Labels = labels
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "app", Image: "example.com/app:1"}}
	return d
}

// statusNamespace has an enforced policy and one with a pod without a sidecar.
func statusNamespace(t *testing.T) string {
	t.Helper()
	c := cluster(t)
	namespace := c.namespace(t, map[string]string{v1alpha1.InjectionLabel: v1alpha1.InjectionLabelEnabled})
	class := &v1alpha1.SidecarClass{ObjectMeta: metav1.ObjectMeta{GenerateName: "default-", Annotations: map[string]string{v1alpha1.DefaultClassAnnotation: "true"}}}
	c.create(t, class, testPolicy(namespace, "orders"), testPolicy(namespace, "basket"), testDeployment(namespace, "orders", 1), testDeployment(namespace, "basket", 1),
		testPod(namespace, "orders", "a", "orders"), testPod(namespace, "basket", "a", ""), testPod(namespace, "legacy", "a", ""))
	c.deleteAfter(t, class)
	return namespace
}

func wantExit(t *testing.T, err error, code int) {
	t.Helper()
	if got := exitCode(err); got != code {
		t.Errorf("exit code %d (%v), want %d", got, err, code)
	}
}

// TestStatus reads a real API server as an administrator.
func TestStatus(t *testing.T) {
	namespace, kubeconfig := statusNamespace(t), cluster(t).admin
	restart := "kubectl rollout restart deployment/basket -n " + namespace
	status := func(args ...string) (string, error) {
		out, stderr, err := run(t, "", append([]string{"status", "--kubeconfig", kubeconfig}, args...)...)
		if stderr != "" {
			t.Errorf("standard error: %s", stderr)
		}
		return out, err
	}
	t.Run("namespace", func(t *testing.T) {
		out, err := status("-n", namespace)
		wantExit(t, err, exitNotEnforced)
		for _, want := range []string{"basket  NO        0/1", "orders  yes       1/1", restart, "No policy selects 1 pod: deployment/legacy"} {
			if !strings.Contains(out, want) {
				t.Errorf("%q is not in:\n%s", want, out)
			}
		}
	})
	t.Run("all namespaces", func(t *testing.T) {
		out, err := status("-A", "-o", "wide")
		wantExit(t, err, exitNotEnforced)
		if !strings.Contains(out, "NAMESPACE") || !strings.Contains(out, namespace+"/basket: pod basket-7d8f9c-a: no sidecar") || !strings.Contains(out, "example.com/sidecar:1") {
			t.Error(out)
		}
	})
	t.Run("a policy", func(t *testing.T) {
		out, err := status("orders", "-n", namespace)
		wantExit(t, err, 0)
		if !strings.Contains(out, "orders-7d8f9c-a") || strings.Contains(out, "basket") || strings.Contains(out, "legacy") {
			t.Error(out)
		}
	})
	t.Run("a pod", func(t *testing.T) {
		for _, name := range []string{"basket-7d8f9c-a", "pod/basket-7d8f9c-a"} {
			out, err := status(name, "-n", namespace)
			wantExit(t, err, exitNotEnforced)
			if !strings.Contains(out, "PodsWithoutSidecar: no sidecar") || !strings.Contains(out, restart) {
				t.Error(out)
			}
		}
	})
	t.Run("a pod that no policy selects", func(t *testing.T) {
		out, err := status("legacy-7d8f9c-a", "-n", namespace)
		wantExit(t, err, exitNotEnforced)
		if !strings.Contains(out, "no SecurityPolicy selects the pod legacy-7d8f9c-a (app=legacy") || strings.Contains(out, "There is no") {
			t.Error(out)
		}
	})
	t.Run("an unknown name", func(t *testing.T) {
		if _, err := status("order", "-n", namespace); err == nil || exitCode(err) != exitFailure || !strings.Contains(err.Error(), "the policies are basket, orders") {
			t.Error(err)
		}
	})
	t.Run("JSON and YAML", func(t *testing.T) {
		for format, decode := range map[string]func([]byte, any) error{
			"json": json.Unmarshal, "yaml": func(b []byte, v any) error { return yaml.UnmarshalStrict(b, v) },
		} {
			out, err := status("-n", namespace, "-o", format)
			wantExit(t, err, exitNotEnforced)
			var got overview.Overview
			if err := decode([]byte(out), &got); err != nil {
				t.Fatal(err)
			}
			if len(got.Policies) != 2 || got.Policies[0].Name != "basket" || got.Policies[0].Problems[0].Commands[0] != restart || got.Policies[1].State != overview.Enforced {
				t.Errorf("%+v", got)
			}
		}
	})
	t.Run("no policy", func(t *testing.T) {
		out, err := status("-n", cluster(t).namespace(t, nil))
		wantExit(t, err, exitNotEnforced)
		if !strings.Contains(out, "There is no SecurityPolicy in namespace shop-") {
			t.Error(out)
		}
	})
}

// TestStatusRights: missing rights are named. Only that for policies is needed.
func TestStatusRights(t *testing.T) {
	c, namespace := cluster(t), statusNamespace(t)
	view := []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"pods", "namespaces"}, Verbs: []string{"get", "list"}},
		{APIGroups: []string{"apps"}, Resources: []string{"deployments", "statefulsets", "daemonsets"}, Verbs: []string{"list"}},
	}
	policies := rbacv1.PolicyRule{APIGroups: []string{"postern.dev"}, Resources: []string{"securitypolicies"}, Verbs: []string{"list"}}
	for name, tt := range map[string]struct {
		rules    []rbacv1.PolicyRule
		args     []string
		want     []string
		wantNot  string
		wantErr  string
		wantCode int
	}{
		"of a viewer of the namespace": {
			rules: append(view, policies), want: []string{"basket-7d8f9c-a: no sidecar", "you may not list sidecarclasses.postern.dev:"}, wantNot: "list pods", wantCode: exitNotEnforced,
		},
		"only for policies": {
			rules: []rbacv1.PolicyRule{policies},
			want:  []string{"orders  yes", "you may not list pods: pods are not looked at", "you may not get namespaces:", "you may not list deployments.apps:"}, wantCode: 0,
		},
		"none":              {wantErr: "you may not list securitypolicies.postern.dev in namespace " + namespace + ": ask for the ClusterRole", wantCode: exitFailure},
		"of all namespaces": {rules: []rbacv1.PolicyRule{policies}, args: []string{"-A"}, wantErr: "you may not list securitypolicies.postern.dev in all namespaces: name one with -n", wantCode: exitFailure},
	} {
		t.Run(name, func(t *testing.T) {
			kubeconfig, err := c.user(t.Context(), "status-"+strings.ReplaceAll(name, " ", "-"), nil, tt.rules, namespace)
			if err != nil {
				t.Fatal(err)
			}
			args := append([]string{"status", "--kubeconfig", kubeconfig}, tt.args...)
			if tt.args == nil {
				args = append(args, "-n", namespace)
			}
			out, _, err := run(t, "", args...)
			wantExit(t, err, tt.wantCode)
			if tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
				t.Errorf("error %v, want %q", err, tt.wantErr)
			}
			for _, want := range tt.want {
				if !strings.Contains(out, want) {
					t.Errorf("%q is not in:\n%s", want, out)
				}
			}
			if tt.wantNot != "" && strings.Contains(out, tt.wantNot) {
				t.Errorf("%q is in:\n%s", tt.wantNot, out)
			}
		})
	}
}

func TestStatusFlags(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"output":    {[]string{"-o", "xml"}, "is not json, yaml or wide"},
		"exclusive": {[]string{"-A", "-n", "shop"}, "exclude each other"},
		"a name":    {[]string{"-A", "orders"}, "needs one namespace"},
		"interval":  {[]string{"--interval", "1ms"}, "less than 500ms"},
	} {
		if _, _, err := run(t, "", append([]string{"status"}, tt.args...)...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// safeBuffer is a buffer that a test reads while a command writes.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestStatusWatch: a change appends one line, and no change none.
func TestStatusWatch(t *testing.T) {
	c, namespace := cluster(t), statusNamespace(t)
	ctx, cancel := context.WithCancel(t.Context())
	cmd, out := newCommand(), &safeBuffer{}
	cmd.SetOut(out)
	cmd.SetErr(out)
	cmd.SetArgs([]string{"status", "--kubeconfig", c.admin, "-n", namespace, "--watch", "--interval", "500ms"})
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()
	waitFor(t, "the first lines", func() bool { return strings.Count(out.String(), "\n") == 2 })
	if err := c.Delete(ctx, testPod(namespace, "basket", "a", ""), client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a line about the change", func() bool { return strings.Contains(out.String(), "/basket NoPods 0/0") })
	if err := c.Delete(ctx, testPolicy(namespace, "basket")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a line about the deletion", func() bool { return strings.Contains(out.String(), "/basket deleted") })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := strings.Count(out.String(), "/orders Enforced 1/1"); n != 1 || strings.Contains(out.String(), "\x1b") {
		t.Errorf("%d lines about the policy that did not change:\n%s", n, out)
	}
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

// TestStatusTerminal: a terminal gets colours unless NO_COLOR is set, and no line that is wider than it.
func TestStatusTerminal(t *testing.T) {
	namespace := statusNamespace(t)
	for noColour, want := range map[string]bool{"": true, "1": false} {
		t.Setenv("NO_COLOR", noColour)
		t.Setenv("TERM", "xterm")
		person, program := openTerminal(t)
		if err := unix.IoctlSetWinsize(int(program.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 60}); err != nil {
			t.Fatal(err)
		}
		cmd := newCommand()
		cmd.SetOut(program)
		cmd.SetArgs([]string{"status", "--kubeconfig", cluster(t).admin, "-n", namespace})
		wantExit(t, cmd.ExecuteContext(t.Context()), exitNotEnforced)
		b := make([]byte, 64<<10)
		n, err := person.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b[:n])
		if got := strings.Contains(text, screen.Red+"NO"); got != want || !want && strings.Contains(text, "\x1b") {
			t.Errorf("NO_COLOR=%q: colours %v, want %v: %q", noColour, got, want, text)
		}
		for line := range strings.SplitSeq(text, "\r\n") {
			plain := regexp.MustCompile("\x1b\\[[0-9]+m").ReplaceAllString(line, "")
			if screen.Width(plain) > 60 && !strings.Contains(plain, "$ kubectl") {
				t.Errorf("the line %q is wider than the terminal", plain)
			}
		}
	}
}

// TestFrame: a frame overwrites the one before, and is not higher than the terminal.
func TestFrame(t *testing.T) {
	got := frame(strings.Repeat("line\n", 50), screen.Style{Height: 10, Width: 80}, time.Second, time.Unix(0, 0))
	if n := strings.Count(got, "\n"); n > 9 || !strings.HasPrefix(got, redraw) || !strings.HasSuffix(got, clearBelow) {
		t.Errorf("%d lines: %q", n, got)
	}
}

// TestStyleOf: what is not a terminal gets neither colours nor widths.
func TestStyleOf(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	if got := styleOf(file, func(string) string { return "" }); got != (screen.Style{}) {
		t.Errorf("%+v", got)
	}
}

func TestExitCode(t *testing.T) {
	for want, err := range map[int]error{0: nil, 1: errors.New("x"), exitNotEnforced: fmt.Errorf("x: %w", &exitError{exitNotEnforced, "y"})} {
		if got := exitCode(err); got != want {
			t.Errorf("exit code %d of %v, want %d", got, err, want)
		}
	}
}

// TestCompletion: names of policies and values of flags complete.
func TestCompletion(t *testing.T) {
	namespace := statusNamespace(t)
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"policies":        {[]string{"status", "-n", namespace, "--kubeconfig", cluster(t).admin, ""}, "basket\norders\n"},
		"policies of top": {[]string{"top", "-n", namespace, "--kubeconfig", cluster(t).admin, ""}, "basket\norders\n"},
		"outputs":         {[]string{"status", "-o", ""}, "json\nyaml\nwide\n"},
		"no cluster":      {[]string{"status", "--kubeconfig", "absent", ""}, ":4\n"},
	} {
		out, _, err := run(t, "", append([]string{"__complete"}, tt.args...)...)
		if err != nil || !strings.HasPrefix(out, tt.want) {
			t.Errorf("%s: %v, %q", name, err, out)
		}
	}
}

// TestPluginName: as a plugin of kubectl, the help names the command as it was called.
func TestPluginName(t *testing.T) {
	root := newCommand()
	nameAfter(root, "/usr/local/bin/kubectl-postern")
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetArgs([]string{"status", "--help"})
	if err := root.ExecuteContext(t.Context()); err != nil || !strings.Contains(out.String(), "kubectl postern status [POLICY | POD]") {
		t.Errorf("%v %s", err, out.String())
	}
}
