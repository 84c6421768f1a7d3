package console

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/cmd/postern/internal/overview"
	"github.com/posterndev/postern/cmd/postern/internal/scrape"
)

type conditionRow struct {
	metav1.Condition
	Since moment
}

type podRow struct {
	overview.Pod
	Badge           badge
	Since, Reported *moment
	// Traffic is nil if it is not known.
	Traffic *scrape.Row
}

type policyData struct {
	frame
	Policy     policyRow
	Where      Name
	Conditions []conditionRow
	Pods       []podRow
	Problems   []problem
	Traffic    trafficPart
	Unread     []overview.Unread
	Sessions   sessionsPart
}

// named returns a policy of the cluster, and what the operator says about it.
func (k *Console) named(r *http.Request) (*overview.Policy, *v1alpha1.SecurityPolicy, overview.Input, error) {
	in, err := k.observe(r.Context())
	if err != nil {
		return nil, nil, in, err
	}
	name := Name{r.PathValue("namespace"), r.PathValue("name")}
	got := overview.Of(in)
	i := slices.IndexFunc(got.Policies, func(p overview.Policy) bool { return name == Name{p.Namespace, p.Name} })
	j := slices.IndexFunc(in.Policies, func(p v1alpha1.SecurityPolicy) bool { return name == Name{p.Namespace, p.Name} })
	if i < 0 || j < 0 {
		return nil, nil, in, &userError{http.StatusNotFound, fmt.Sprintf("There is no SecurityPolicy %s in namespace %s.", shortened(name.Name), shortened(name.Namespace))}
	}
	return &got.Policies[i], &in.Policies[j], in, nil
}

func (k *Console) policyPage(w http.ResponseWriter, r *http.Request) error {
	p, object, in, err := k.named(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	d := policyData{
		frame: k.frame(r, p.Name, "overview"), Policy: policyRow{p, badgeOf(p.State), maybe(p.Since, in.Now)}, Where: Name{p.Namespace, p.Name}, Unread: in.Unread,
		Problems: problemsOf(Name{}, p.Problems),
	}
	d.Traffic = k.traffic(ctx, d.Where)
	for _, c := range object.Status.Conditions {
		d.Conditions = append(d.Conditions, conditionRow{c, momentOf(c.LastTransitionTime.Time, in.Now)})
	}
	for _, pod := range p.Pods {
		row := podRow{Pod: pod, Badge: badgeOf(pod.State), Since: maybe(pod.Since, in.Now), Reported: maybe(pod.Reported, in.Now)}
		if i := slices.IndexFunc(d.Traffic.Rows, func(r scrape.Row) bool { return r.Pod == pod.Name }); i >= 0 {
			row.Traffic = &d.Traffic.Rows[i]
		}
		d.Pods = append(d.Pods, row)
	}
	if r.Header.Get(partHeader) == "" {
		d.Sessions = k.sessions(ctx, d.Where, r.URL.Query())
	}
	return k.show(w, r, "policy", d)
}

// policyPath returns the path of a policy's page.
func policyPath(name Name) string {
	return "/policies/" + url.PathEscape(name.Namespace) + "/" + url.PathEscape(name.Name)
}
