//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// limits has two limits. Without Redis, lenient counts per pod, and strict refuses all requests. Requests are counted by
// X-Caller, so each check has its own counts.
const limits = `
apiVersion: postern.dev/v1alpha1
kind: SecurityPolicy
metadata: {name: orders}
spec:
  selector: {matchLabels: {app: orders}}
  rateLimits:
  - {name: lenient, match: [{paths: [/lenient]}], limit: 30/day, keyBy: [{type: Header, name: X-Caller}], onFailure: Allow}
  - {name: strict, match: [{paths: [/strict]}], limit: 30/day, keyBy: [{type: Header, name: X-Caller}], onFailure: Deny}
`

// testRedisOutage: two pods share one exact limit. Without Redis each rule applies its onFailure. Afterwards both share the
// limit again.
func testRedisOutage(t *testing.T) {
	s := newSpace(t)
	s.apply(limits)
	s.deploy("orders", 2)
	s.rolledOut("orders")
	s.enforced("orders", 2)
	pods := s.pods("orders")

	for _, path := range []string{"/lenient", "/strict"} {
		if passed := s.flood(pods, path, "together"); passed != 30 {
			t.Errorf("%s: %d requests passed, want 30 from both pods together", path, passed)
		}
	}
	s.scaleRedis(0)
	for i := range pods {
		url := podURL(&pods[i], appPort)
		got := eventuallyStatus(t, http.StatusServiceUnavailable, url+"/strict", "X-Caller: away")
		if got.header.Get("Retry-After") == "" || !strings.Contains(got.body, "rate-limit-unavailable") {
			t.Errorf("the refusal is %v %s", got.header, got.body)
		}
		if passed := s.flood(pods[i:i+1], "/lenient", "away"); passed != 30 {
			t.Errorf("without Redis %d requests passed pod %s, want its own 30", passed, pods[i].Name)
		}
	}
	s.scaleRedis(1)
	for i := range pods {
		eventuallyStatus(t, http.StatusOK, podURL(&pods[i], appPort)+"/strict", "X-Caller: back-"+pods[i].Name)
	}
	if passed := s.flood(pods, "/strict", "again"); passed != 30 {
		t.Errorf("after Redis came back %d requests passed, want 30 from both pods together", passed)
	}
}

// flood sends 60 requests to each pod concurrently and returns how many passed. All others must get 429.
func (s *space) flood(pods []corev1.Pod, path, caller string) int {
	s.t.Helper()
	const each, workers = 60, 6
	var mu sync.Mutex
	var all sync.WaitGroup
	passed := 0
	for i := range pods {
		url := podURL(&pods[i], appPort) + path
		for range workers {
			all.Go(func() {
				client := newHTTPClient(true)
				defer client.CloseIdleConnections()
				for range each / workers {
					got, err := sendBy(s.t, client, http.MethodGet, url, "", "X-Caller: "+caller)
					if err == nil && got.status != http.StatusOK && got.status != http.StatusTooManyRequests {
						err = fmt.Errorf("status %d: %.200q", got.status, got.body)
					}
					if err != nil {
						s.t.Errorf("%s: %v", url, err)
					} else if got.status == http.StatusOK {
						mu.Lock()
						passed++
						mu.Unlock()
					}
				}
			})
		}
	}
	all.Wait()
	return passed
}

// scaleRedis stops the chart's Redis, or starts it again.
func (s *space) scaleRedis(replicas int32) {
	s.t.Helper()
	redis := &appsv1.StatefulSet{}
	key := client.ObjectKey{Namespace: systemNamespace, Name: "postern-redis"}
	if err := s.c.Get(s.t.Context(), key, redis); err != nil {
		s.t.Fatal(err)
	}
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas))
	if err := s.c.Patch(s.t.Context(), redis, patch); err != nil {
		s.t.Fatalf("scaling Redis to %d: %v", replicas, err)
	}
	if replicas == 0 {
		s.t.Cleanup(func() {
			if _, err := kubectl("scale", "statefulset/postern-redis", "-n", systemNamespace, "--replicas=1"); err != nil {
				s.t.Error(err)
			}
		})
	}
	eventually(s.t, fmt.Sprintf("waiting for %d Redis", replicas), func() error {
		if err := s.c.Get(s.t.Context(), key, redis); err != nil {
			return err
		}
		if redis.Status.Replicas != replicas || redis.Status.ReadyReplicas != replicas || redis.Status.ObservedGeneration < redis.Generation {
			return fmt.Errorf("there are %d, %d ready", redis.Status.Replicas, redis.Status.ReadyReplicas)
		}
		return nil
	})
}
