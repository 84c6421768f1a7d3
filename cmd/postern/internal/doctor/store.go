package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// leastRedis is the first version with ACL users.
var leastRedis = version.MajorMinor(6, 0)

// Redis is what a Redis says to this machine.
type Redis struct {
	// Address is empty if no Redis was named.
	Address string
	Version string
	// Policy is its maxmemory-policy.
	Policy string
	// Denied are the commands that the user may not run, of those that sidecars need.
	Denied []string
	// Wide says that the user may read keys that are not Postern's.
	Wide bool
}

func redis(f *Facts) []Finding {
	var out []Finding
	if f.Redis.Err != nil {
		out = append(out, problem("this machine may reach it by another way than pods do: see the checks sidecars and network-policies", "%v", f.Redis.Err))
	} else if f.Redis.Value.Address != "" {
		out = append(out, redisItself(&f.Redis.Value)...)
	}
	if f.Classes.Err == nil && !slices.ContainsFunc(f.Classes.Value, func(c v1alpha1.SidecarClass) bool { return c.Spec.Redis != nil }) {
		return append(out, Finding{Level: Warning, What: "no SidecarClass names a Redis: each pod counts, and keeps sessions and revocations, on its own"})
	}
	out = append(out, f.dependency(compiled.ProblemRedis, "Redis")...)
	for i := range f.Sidecars {
		if s := &f.Sidecars[i]; s.Err == nil && s.Values["postern_state_evicts"] > 0 {
			out = append(out, problem("", "pod %s/%s says that its Redis may evict keys, and with them sessions and revocations", s.Namespace, s.Pod).with("redis-cli CONFIG SET maxmemory-policy noeviction"))
			break
		}
	}
	if f.Redis.Value.Address == "" && f.Redis.Err == nil {
		out = append(out, Finding{Level: NotChecked, What: "the version of Redis and the ACL of its user", Do: "name it with --redis, as rediss://USER@HOST:6379, and its password in REDISCLI_AUTH"})
	}
	return out
}

func redisItself(r *Redis) []Finding {
	var out []Finding
	switch v, err := version.ParseGeneric(r.Version); {
	case err != nil:
		out = append(out, Finding{Level: NotChecked, What: fmt.Sprintf("Redis at %s does not say its version", r.Address)})
	case v.LessThan(leastRedis):
		out = append(out, problem("upgrade Redis", "Redis at %s has version %s, which has no ACL users", r.Address, r.Version))
	}
	if r.Policy != "" && r.Policy != "noeviction" {
		out = append(out, problem("", "Redis at %s has maxmemory-policy %s: it may evict sessions and revocations", r.Address, r.Policy).with("redis-cli CONFIG SET maxmemory-policy noeviction"))
	}
	if len(r.Denied) > 0 {
		out = append(out, problem("give the user the ACL line of docs/state.md", "the user of Redis at %s may not run %s", r.Address, strings.Join(r.Denied, ", ")))
	}
	if r.Wide {
		out = append(out, warning("give the user the ACL line of docs/state.md", "the user of Redis at %s may read keys that are not Postern's", r.Address))
	}
	if len(out) == 0 {
		return fine("Redis %s at %s, maxmemory-policy %s; the user has the permissions that sidecars need, and no other keys", r.Version, r.Address, r.Policy)
	}
	return out
}

// dependency judges by the sidecars' reports, because only a pod reaches a dependency in the way that sidecars do.
func (f *Facts) dependency(kind, name string) []Finding {
	if f.Pods.Err != nil {
		return unread(f.Pods.Err, "list pods")
	}
	got, _ := f.reports()
	if len(got) == 0 {
		return []Finding{{Level: NotChecked, What: "no sidecar has reported whether it can use " + name}}
	}
	var pods []string
	var first compiled.Problem
	for _, r := range got {
		for _, p := range r.Problems {
			if p.Kind == kind {
				if first.Kind == "" {
					first = p
				}
				pods = append(pods, r.pod)
				break
			}
		}
	}
	if len(pods) == 0 {
		return fine("%s no problem with %s", plural(len(got), "sidecar reports", "sidecars report"), name)
	}
	namespace, pod, _ := strings.Cut(pods[0], "/")
	return []Finding{problem("", "%d of %d sidecars report %s for %s, for example %s: %s", len(pods), len(got), first.Reason, name, pods[0], cmp.Or(first.Message, first.Reason)).with(
		fmt.Sprintf("kubectl logs %s -c postern -n %s --tail=20", pod, namespace))}
}

func vault(f *Facts) []Finding {
	if f.Classes.Err != nil {
		return unread(f.Classes.Err, "list sidecarclasses.postern.dev")
	}
	if !slices.ContainsFunc(f.Classes.Value, func(c v1alpha1.SidecarClass) bool { return c.Spec.Vault != nil }) {
		return fine("no SidecarClass names a Vault")
	}
	out := f.dependency(compiled.ProblemVault, "Vault")
	return append(out, Finding{Level: NotChecked, What: "the role in Vault: only a pod's service account can log in with it, so this goes by what sidecars report", Commands: []string{"vault read auth/kubernetes/role/ROLE"}})
}
