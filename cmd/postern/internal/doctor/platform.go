package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/version"
)

// least is the first version of Kubernetes that runs native sidecars (init containers with restartPolicy Always) by default.
var least = version.MajorMinor(1, 29)

func kubernetesVersion(f *Facts) []Finding {
	if f.Kubernetes.Err != nil {
		return []Finding{problem("", "the API server does not say its version: %v", f.Kubernetes.Err)}
	}
	v, err := version.ParseGeneric(f.Kubernetes.Value)
	if err != nil {
		return []Finding{{Level: NotChecked, What: fmt.Sprintf("the version %q cannot be read: %v", f.Kubernetes.Value, err)}}
	}
	if v.LessThan(least) {
		return []Finding{problem("upgrade Kubernetes to 1.29 or later", "Kubernetes %s has no native sidecars (restartPolicy: Always of init containers)", f.Kubernetes.Value)}
	}
	return fine("Kubernetes %s runs native sidecars", f.Kubernetes.Value)
}

// Clock compares two clocks: Remote is what the other machine said between Sent and Received.
type Clock struct{ Sent, Received, Remote time.Time }

// skew returns by how much the other clock is ahead at least: 0 if it may be right. A Date header has whole seconds.
func (c Clock) skew() time.Duration {
	if behind := c.Sent.Sub(c.Remote.Add(time.Second)); behind > 0 {
		return -behind
	}
	return max(0, c.Remote.Sub(c.Received))
}

// Clocks differ if tokens would be refused soon: sidecars allow 30s by default. maxSkew is half of it.
const maxSkew = 15 * time.Second

func clock(f *Facts) []Finding {
	if f.Clock.Err != nil {
		return []Finding{{Level: NotChecked, What: fmt.Sprintf("the API server's clock: %v", f.Clock.Err)}}
	}
	return skewOf(f.Clock.Value, "the API server", "this machine")
}

func skewOf(c Clock, remote, local string) []Finding {
	skew := c.skew()
	if skew.Abs() < maxSkew {
		return fine("the clocks of %s and %s agree", remote, local)
	}
	direction := "ahead of"
	if skew < 0 {
		direction = "behind"
	}
	return []Finding{warning("synchronise both clocks (NTP): tokens are refused if clocks differ by more than their leeway",
		"the clock of %s is at least %s %s that of %s", remote, skew.Abs().Round(time.Second), direction, local)}
}

func crds(f *Facts) []Finding {
	if f.CRDs.Err != nil {
		return unread(f.CRDs.Err, "get customresourcedefinitions.apiextensions.k8s.io")
	}
	var out []Finding
	for _, want := range f.WantCRDs {
		i := slices.IndexFunc(f.CRDs.Value, func(c apiextensionsv1.CustomResourceDefinition) bool { return c.Name == want.Name })
		if i < 0 {
			out = append(out, problem("install Postern", "the CRD %s does not exist", want.Name).with(upgrade))
			continue
		}
		out = append(out, f.crd(&f.CRDs.Value[i], &want)...)
	}
	if len(out) == 0 {
		return fine("%s of this version of postern (%s)", plural(len(f.WantCRDs), "CRD is", "CRDs are"), f.Client)
	}
	return out
}

// upgrade is the command that installs the chart's objects again.
const upgrade = "helm upgrade --install postern charts/postern --namespace postern-system --reuse-values"

func (f *Facts) crd(have, want *apiextensionsv1.CustomResourceDefinition) []Finding {
	for _, c := range have.Status.Conditions {
		if c.Type == apiextensionsv1.Established && c.Status != apiextensionsv1.ConditionTrue {
			return []Finding{problem("", "the CRD %s is not established: %s", have.Name, c.Message)}
		}
	}
	var differs []string
	for i := range want.Spec.Versions {
		v := &want.Spec.Versions[i]
		j := slices.IndexFunc(have.Spec.Versions, func(h apiextensionsv1.CustomResourceDefinitionVersion) bool { return h.Name == v.Name && h.Served })
		switch {
		case j < 0:
			return []Finding{problem("upgrade Postern", "the CRD %s does not serve %s", have.Name, v.Name).with(upgrade)}
		case !equality.Semantic.DeepEqual(have.Spec.Versions[j].Schema, v.Schema):
			differs = append(differs, v.Name)
		}
	}
	if len(differs) > 0 {
		return []Finding{warning("use the postern of the installed version, or upgrade the installation: fields that the CRD does not know are dropped",
			"the schema of CRD %s (%s) is not that of this version of postern (%s)", have.Name, strings.Join(differs, ", "), f.Client).with(upgrade)}
	}
	return nil
}

// flowSchemas are those of the chart: the operator's lease and its reviews have a priority of their own.
var flowSchemas = []string{"postern-operator-lease", "postern-operator-reviews"}

func priority(f *Facts) []Finding {
	if f.FlowSchemas.Err != nil {
		return unread(f.FlowSchemas.Err, "get flowschemas.flowcontrol.apiserver.k8s.io")
	}
	var missing []string
	for _, name := range flowSchemas {
		if !slices.Contains(f.FlowSchemas.Value, name) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return []Finding{warning("set operator.flowSchemas.enabled=true in the chart's values", "there is no FlowSchema %s: when the API server is overloaded, "+
			"the operator's requests wait with all others, and pods are not admitted meanwhile", strings.Join(missing, " and "))}
	}
	return fine("the operator's requests have a priority level of their own")
}
