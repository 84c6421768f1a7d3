package doctor

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"

	"github.com/posterndev/postern/controllers/policy"
)

func webhook(f *Facts) []Finding {
	var out []Finding
	switch config := f.Mutating.Value; {
	case f.Mutating.Err != nil:
		out = append(out, unread(f.Mutating.Err, "get mutatingwebhookconfigurations.admissionregistration.k8s.io")...)
	default:
		if what := policy.WebhookProblem(config, nil); what != "" {
			out = append(out, problem("restore it", "the MutatingWebhookConfiguration %s %s", WebhookName, what).with(upgrade))
			break
		}
		out = append(out, f.serviceOf(config)...)
	}
	switch {
	case f.Validating.Err != nil:
		out = append(out, unread(f.Validating.Err, "get validatingwebhookconfigurations.admissionregistration.k8s.io")...)
	case f.Validating.Value == nil:
		out = append(out, Finding{Level: Warning, What: fmt.Sprintf("there is no ValidatingWebhookConfiguration %s: kubectl apply accepts policies that no sidecar can run; their status says so",
			WebhookName), Do: "unless that is intended, set webhook.validation.enabled=true in the chart's values"})
	}
	if len(out) == 0 {
		return fine("every new pod of a labelled namespace is sent to the operator, and refused if it does not respond")
	}
	return out
}

// serviceOf checks that the webhook names the operator's namespace.
func (f *Facts) serviceOf(config *admissionv1.MutatingWebhookConfiguration) []Finding {
	for i := range config.Webhooks {
		if s := config.Webhooks[i].ClientConfig.Service; config.Webhooks[i].Name == policy.WebhookName && s != nil && s.Namespace != f.OperatorNamespace {
			return []Finding{warning("name that namespace with --operator-namespace", "the webhook is in namespace %s, not %s", s.Namespace, f.OperatorNamespace)}
		}
	}
	return nil
}

// soon is the time before the end of a certificate at which the operator has renewed it: it renews a third of the lifetime before.
const soon = 14 * 24 * time.Hour

func certificates(f *Facts) []Finding {
	if f.Mutating.Err != nil {
		return unread(f.Mutating.Err, "get mutatingwebhookconfigurations.admissionregistration.k8s.io")
	}
	if f.Mutating.Value == nil {
		return []Finding{{Level: NotChecked, What: "there is no webhook configuration with a CA"}}
	}
	var out []Finding
	i := slices.IndexFunc(f.Mutating.Value.Webhooks, func(w admissionv1.MutatingWebhook) bool { return w.Name == policy.WebhookName })
	if i >= 0 {
		out = append(out, authority(f.Mutating.Value.Webhooks[i].ClientConfig.CABundle, f.Now)...)
	}
	switch at := f.Serving.Value; {
	case f.Serving.Err != nil:
		out = append(out, Finding{Level: NotChecked, What: "the operator's certificate: " + f.Serving.Err.Error()})
	case at.IsZero():
	default:
		out = append(out, expiry("the operator's certificate", at, f.Now))
	}
	return out
}

// authority judges the CA bundle of the webhook: the newest of its certificates counts, because the old one stays for a while.
func authority(bundle []byte, now time.Time) []Finding {
	var last time.Time
	for rest := bundle; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && c.NotAfter.After(last) {
			last = c.NotAfter
		}
	}
	if last.IsZero() {
		return []Finding{problem("if this persists, look at the operator's log", "the webhook has no CA certificate (caBundle): the API server does not trust the operator, and refuses new pods").with(
			"kubectl logs -n postern-system deployment/" + OperatorName + " --tail=50")}
	}
	return []Finding{expiry("the CA of the webhook", last, now)}
}

func expiry(what string, at, now time.Time) Finding {
	left := at.Sub(now)
	switch date := at.UTC().Format(time.DateOnly); {
	case left <= 0:
		return problem("restart the operator, and look at its log", "%s expired on %s", what, date).with("kubectl rollout restart deployment/" + OperatorName + " -n postern-system")
	case left < soon:
		return warning("it should have been renewed: look at the operator's log", "%s expires on %s, in %d days", what, date, int(left.Hours()/24))
	default:
		return fine("%s is valid until %s", what, date)[0]
	}
}

// DryRun is the result of creating a pod without keeping it (dry run).
type DryRun struct {
	Namespace string
	// Policy selects the pod, and Injected says that it got a sidecar. Without a policy, it is only known that the webhook responded.
	Policy   string
	Injected bool
	// Refused is the API server's reason for refusing the pod; empty if it admitted it.
	Refused string
}

func dryRun(f *Facts) []Finding {
	if f.DryRun.Err != nil {
		return unread(f.DryRun.Err, "create pods (a dry run, of which nothing is kept)")
	}
	r := f.DryRun.Value
	switch {
	case strings.Contains(r.Refused, "failed calling webhook") && strings.Contains(r.Refused, policy.WebhookName):
		return []Finding{problem("no pods can be created in labelled namespaces: check that the operator runs, and that the API server reaches its port 9443 (a firewall of the control plane)",
			"the API server cannot call the webhook: %s", r.Refused).with("kubectl get endpoints -n " + f.OperatorNamespace + " " + OperatorName)}
	case strings.Contains(r.Refused, "denied the request: postern: "):
		return []Finding{warning("", "the webhook responds, and refuses a pod of policy %s/%s: %s", r.Namespace, r.Policy, r.Refused)}
	case r.Refused != "":
		return []Finding{{Level: NotChecked, What: fmt.Sprintf("a pod in namespace %s is refused for another reason: %s", r.Namespace, r.Refused)}}
	case r.Policy != "" && !r.Injected:
		return []Finding{problem("see the check webhook, and the policy's conditions", "a pod that policy %s/%s selects gets no sidecar", r.Namespace, r.Policy).with(
			"postern status " + r.Policy + " -n " + r.Namespace)}
	case r.Policy == "":
		return fine("the API server admits pods in namespace %s (no policy there selects a pod by its labels, so no sidecar was injected)", r.Namespace)
	}
	return fine("a pod that policy %s/%s selects gets its sidecar", r.Namespace, r.Policy)
}
