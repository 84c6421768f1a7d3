//go:build e2e

package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/sidecar/audit/drain"
	"github.com/posterndev/postern/sidecar/audit/stream"
)

// testAuditStream: sidecars append to a stream in Redis, and the audit writers of the chart insert what is in it. One of them dies with a
// batch in hand, and another one takes it over.
func testAuditStream(t *testing.T) {
	began := time.Now()
	base := newSpace(t)
	s := &auditedShop{shop: &shop{space: base, vault: newVault(t)}}
	s.auditDatabase = base.newAuditDatabase(s.shop.vault)
	s.grant(t, "postern-audit", "postern-audit", systemNamespace)
	s.startWriters(t)
	s.shop.vault.makeKey(t, base.name)
	s.shop.vault.put(t, "secret/e2e/"+base.name, map[string]any{"redis-password": base.redisPassword()})
	class := s.shop.vault.class("e2e/" + base.name)
	s.auditDatabase.class(t, class)
	database := class["database"].(map[string]any)
	database["via"] = "RedisStream"
	delete(database, "credentials")
	base.class(base.name, class)
	base.apply(audited, "CLASS", base.name, "KEY", base.name)
	base.deploy("accounts", 2)
	base.rolledOut("accounts")
	base.enforced("accounts", 2)
	s.findPods()
	measured(t, "audit by way of Redis: two writers and two pods are ready after %s", since(began))
	s.testWriterDies(t)
}

// startWriters enables audit in the values of the release, until the test ends.
func (s *auditedShop) startWriters(t *testing.T) {
	t.Helper()
	values, err := yaml.Marshal(map[string]any{
		"audit": map[string]any{"enabled": true, "image": map[string]any{"tag": "dev", "pullPolicy": "Never"}, "database": s.spec(), "vaultRole": "postern-audit"},
		"vault": map[string]any{
			"address": "https://vault." + vaultNamespace + ".svc:8200", "caBundle": string(s.shop.vault.ca), "auth": map[string]any{"kubernetes": map[string]any{"role": "postern"}},
		},
		"defaultClass": map[string]any{"create": false}, // that of the other tests stays as it is
	})
	if err != nil {
		t.Fatal(err)
	}
	before, after := helmValues(t), t.TempDir()+"/audit.yaml"
	write(t, after, string(values))
	t.Cleanup(func() {
		if _, err := helm("upgrade", "postern", chart, "-n", systemNamespace, "--values", before, "--wait", "--timeout", "5m"); err != nil {
			t.Error(err)
		}
	})
	mustHelm(t, "upgrade", "postern", chart, "-n", systemNamespace, "--values", before, "--values", after, "--wait", "--timeout", "5m")
}

// auditWriters returns the pods of the chart's Deployment.
func (s *auditedShop) auditWriters(t *testing.T) (pods []corev1.Pod) {
	t.Helper()
	list := &corev1.PodList{}
	if err := s.c.List(t.Context(), list, client.InNamespace(systemNamespace), client.MatchingLabels{"app.kubernetes.io/component": "audit"}); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// testWriterDies: PostgreSQL does not reply while one writer is deleted without time to finish.
func (s *auditedShop) testWriterDies(t *testing.T) {
	token := s.mustLogin(t, s.urls[0], "otto", firefox).Access
	began := time.Now()
	c := s.create201(t, token, s.urls...)
	c.moreCreated(50, s.urls...)
	s.Pause(t)
	c.moreCreated(100, s.urls...)
	writer, inHand := s.busyWriter(t)
	s.killWriter(t, writer)
	s.Resume(t)
	resumed := time.Now()
	c.moreCreated(50, s.urls...)
	c.stop()
	s.accounted(t, "a writer killed under load", began, c)
	measured(t, "audit by way of Redis: complete %s after PostgreSQL replied again; the writer that was killed had %d entries in hand", since(resumed), inHand)
	eventually(t, "waiting for an empty stream", func() error {
		for _, p := range s.auditWriters(t) {
			if !strings.Contains(describe(&p), "ready=true") {
				return fmt.Errorf("%s: %s", p.Name, describe(&p))
			}
			if n := metric(t, podURL(&p, 8080), "postern_audit_stream_length", `namespace="`+s.shop.name+`"`); n != 0 {
				return fmt.Errorf("it has %v entries", n)
			}
		}
		return nil
	})
	if users := query(t, s.auditDatabase, pgx.RowTo[string], "SELECT DISTINCT usename::text FROM pg_stat_activity WHERE application_name = 'postern'"); len(users) > 2 {
		t.Errorf("more than the two writers are connected: %v", users)
	}
}

// busyWriter waits until a writer has read entries that it has not written, and returns the name of its pod and their number.
func (s *auditedShop) busyWriter(t *testing.T) (pod string, entries int) {
	t.Helper()
	eventually(t, "waiting for a writer with a batch in hand", func() error {
		out, err := kubectl("exec", "-n", systemNamespace, "postern-redis-0", "--", "/usr/bin/redis-cli", "--no-auth-warning", "-a", s.redisPassword(),
			"XPENDING", stream.Key(s.shop.name), drain.Group)
		if err != nil {
			return err
		}
		words := strings.Fields(out) // the number of entries, the first and the last, and for each writer its name and its number
		if len(words) < 5 {
			return fmt.Errorf("XPENDING says %q", out)
		}
		pod = words[3]
		entries, err = strconv.Atoi(words[4])
		return err
	})
	return pod, entries
}

// killWriter deletes a pod of the writers, and kills its process before that can finish anything.
func (s *auditedShop) killWriter(t *testing.T, name string) {
	t.Helper()
	pod := &corev1.Pod{}
	if err := s.c.Get(t.Context(), client.ObjectKey{Namespace: systemNamespace, Name: name}, pod); err != nil {
		t.Fatal(err)
	}
	if out, err := kubectl("delete", "pod", "-n", systemNamespace, name, "--grace-period=0", "--force"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	id := strings.TrimPrefix(pod.Status.ContainerStatuses[0].ContainerID, "containerd://")
	kill := []string{"ctr", "--address", "/run/containerd.sock", "--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", id}
	if out, err := onNode(kill...); err != nil {
		t.Fatalf("killing the writer: %v: %s", err, out)
	}
	eventually(t, "waiting for the end of the writer", func() error {
		out, err := onNode("ctr", "--address", "/run/containerd.sock", "--namespace", "k8s.io", "tasks", "list")
		for line := range strings.SplitSeq(out, "\n") {
			if strings.HasPrefix(line, id) && !strings.Contains(line, "STOPPED") {
				return fmt.Errorf("it runs: %s", line)
			}
		}
		return err
	})
}
