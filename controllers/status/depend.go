package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// need is a dependency of sidecars.
type need struct {
	// kind is the kind of the problems that sidecars report about it.
	kind string
	// reasons are those that sidecars report, the most severe first.
	reasons []string
	// otherwise replaces unknown reasons, which only a newer sidecar or a hostile pod reports.
	otherwise string
}

var (
	needsVault = need{compiled.ProblemVault, []string{
		v1alpha1.ReasonVaultUnreachable, v1alpha1.ReasonVaultUntrusted, v1alpha1.ReasonVaultSealed, v1alpha1.ReasonVaultNoCredentials,
		v1alpha1.ReasonVaultWrongRole, v1alpha1.ReasonVaultLoginRefused, v1alpha1.ReasonVaultPermissionDenied,
		v1alpha1.ReasonVaultRefused, v1alpha1.ReasonVaultThrottled,
	}, v1alpha1.ReasonVaultUnreachable}
	needsKey = need{compiled.ProblemSigningKey, []string{
		v1alpha1.ReasonSigningKeyUnavailable, v1alpha1.ReasonRotationDue,
	}, v1alpha1.ReasonSigningKeyUnavailable}
	needsProxy = need{compiled.ProblemClientAddress, []string{v1alpha1.ReasonUntrustedProxy}, v1alpha1.ReasonUntrustedProxy}
	needsKeys  = need{compiled.ProblemKeys, []string{
		v1alpha1.ReasonKeysUnavailable, v1alpha1.ReasonRefreshFails,
	}, v1alpha1.ReasonKeysUnavailable}
	needsCertificate = need{compiled.ProblemCertificate, []string{
		v1alpha1.ReasonCertificateUnavailable, v1alpha1.ReasonCertificateExpired, v1alpha1.ReasonCertificateExpiring, v1alpha1.ReasonRefreshFails, v1alpha1.ReasonListOutdated,
	}, v1alpha1.ReasonCertificateUnavailable}
	needsRedis = need{compiled.ProblemRedis, []string{v1alpha1.ReasonRedisUnavailable, v1alpha1.ReasonRedisEvicts}, v1alpha1.ReasonRedisUnavailable}
)

// dependencies returns the conditions about the dependencies of this policy's sidecars.
func (in *Input) dependencies() []metav1.Condition {
	var out []metav1.Condition
	if in.Compiled != nil && in.Compiled.UsesVault() {
		out = append(out, in.dependency(v1alpha1.ConditionVaultReady, needsVault, "able to use Vault"))
	}
	if in.Policy.Spec.Tokens != nil {
		out = append(out, in.dependency(v1alpha1.ConditionSigningKeyReady, needsKey, "able to sign tokens"))
	}
	if complaints, _ := in.complaints(needsProxy); len(complaints) > 0 {
		out = append(out, metav1.Condition{
			Type: v1alpha1.ConditionClientAddressKnown, Status: metav1.ConditionFalse, Reason: complaints[0].reason,
			Message: describe(complaints) + ". If that is your ingress or load balancer, add its network to spec.trustedProxies of the SidecarClass. A client " +
				"can send such headers too",
		})
	}
	if in.Compiled != nil && (in.Compiled.APIKeys != nil || slices.ContainsFunc(in.Compiled.Providers, func(p compiled.Provider) bool { return len(p.Keys.Inline) == 0 })) {
		c := in.dependency(v1alpha1.ConditionKeysReady, needsKeys, "able to verify the credentials of callers")
		if c.Status == metav1.ConditionFalse {
			c.Message += in.keySources()
		}
		out = append(out, c)
	}
	if in.Compiled != nil && (in.Compiled.TLS != nil || in.Compiled.UpstreamTLS != nil) {
		out = append(out, in.dependency(v1alpha1.ConditionCertificateReady, needsCertificate, "able to use the policy's certificates"+in.certificatesExpire()))
	}
	return out
}

// certificatesExpire says when the first of the certificates expires that sidecars report.
func (in *Input) certificatesExpire() string {
	var first time.Time
	for i := range in.Pods {
		p := &in.Pods[i]
		if p.Bound != in.Policy.Name || p.Report == nil || p.Report.Hash != in.Document {
			continue
		}
		if at := p.Report.CertificatesExpire; !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	if first.IsZero() {
		return ""
	}
	return "; the first expires at " + first.UTC().Format(time.RFC3339)
}

// keySources names where the keys come from of the providers that sidecars report: the URI, the Secret, or the path in Vault.
func (in *Input) keySources() string {
	named := map[string]bool{}
	for i := range in.Pods {
		if p := &in.Pods[i]; p.Bound == in.Policy.Name && p.Report != nil {
			for _, problem := range p.Report.Problems {
				if provider, _, ok := strings.Cut(problem.Message, ":"); ok && problem.Kind == compiled.ProblemKeys {
					named[provider] = true
				}
			}
		}
	}
	var out strings.Builder
	for i := range in.Compiled.Providers { // a hostile pod can name others, which are not here
		p := &in.Compiled.Providers[i]
		if named[p.Name] {
			fmt.Fprintf(&out, ". The keys of provider %q come from %s", p.Name, sourceOf(&p.Keys, in.Policy.Namespace))
		}
	}
	if a := in.Compiled.APIKeys; a != nil && named[compiled.ProblemAPIKeys] {
		for _, ref := range []*compiled.SecretRef{a.Keys, a.Users} {
			if ref != nil {
				fmt.Fprintf(&out, ". A file of spec.apiKeys comes from %s", sourceOf(&compiled.Keys{Secret: ref}, in.Policy.Namespace))
			}
		}
	}
	return out.String()
}

func sourceOf(k *compiled.Keys, namespace string) string {
	switch {
	case k.URI != "":
		return k.URI
	case k.Secret != nil && k.Secret.VaultPath != "":
		return fmt.Sprintf("Vault at %s, key %q", k.Secret.VaultPath, k.Secret.Key)
	case k.Secret != nil:
		return fmt.Sprintf("Secret %q, key %q, in namespace %s: create it, or correct its content", k.Secret.Name, k.Secret.Key, namespace)
	}
	return "the policy"
}

func (in *Input) dependency(condition string, n need, ready string) metav1.Condition {
	c := metav1.Condition{Type: condition, Status: metav1.ConditionFalse}
	complaints, reports := in.complaints(n)
	switch {
	case len(complaints) > 0:
		c.Reason, c.Message = complaints[0].reason, describe(complaints)
	case reports == 0:
		c.Status, c.Reason, c.Message = metav1.ConditionUnknown, v1alpha1.ReasonNoReport, "no sidecar has reported yet that it runs the document"
	default:
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonReady
		c.Message = plural(reports, "sidecar is ", "sidecars are ") + ready
	}
	return c
}

func (in *Input) sharedState() metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionSharedState, Status: metav1.ConditionFalse}
	switch complaints, _ := in.complaints(needsRedis); {
	case in.Class == nil:
		c.Status, c.Reason, c.Message = metav1.ConditionUnknown, v1alpha1.ReasonClassNotFound, "unknown without a SidecarClass"
	case in.Class.Spec.Redis == nil:
		c.Reason, c.Message = v1alpha1.ReasonInProcess, in.inProcess()
	case len(complaints) > 0:
		c.Reason = complaints[0].reason
		c.Message = describe(complaints) + ". Their rules follow onFailure"
		if c.Reason == v1alpha1.ReasonRedisEvicts {
			c.Message = describe(complaints) + ". Sessions and revocations can be lost; set maxmemory-policy noeviction in Redis"
		}
	default:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1alpha1.ReasonRedis, "sidecars share their state in Redis"
	}
	return c
}

// inProcess says what is missing without Redis. TokenRevocations are part of the document and do not need it.
func (in *Input) inProcess() string {
	alone, shared := "each pod counts on its own", "limits"
	if in.Policy.Spec.Tokens != nil || in.Policy.Spec.Sessions != nil {
		alone += "; sessions and the app's revocations are known to one pod only, and lost when it restarts"
		shared = "limits, sessions and revocations"
	}
	return fmt.Sprintf("%s; to share %s, name a Redis in SidecarClass %q", alone, shared, in.Class.Name)
}

// complaint is a problem that several sidecars report with the same reason.
type complaint struct {
	reason string
	pods   []string
	// message is that of the first pod.
	message string
}

// complaints returns the problems that the policy's sidecars report about the need, each pod once per reason, and how many of
// them run the document: a sidecar that refused it may not know of the need.
func (in *Input) complaints(n need) (out []complaint, reports int) {
	byReason := make([]complaint, len(n.reasons))
	for i := range in.Pods {
		p := &in.Pods[i]
		if p.Bound != in.Policy.Name || p.Report == nil {
			continue
		}
		if in.Document != "" && p.Report.Hash == in.Document {
			reports++
		}
		for _, problem := range p.Report.Problems {
			if problem.Kind != n.kind {
				continue
			}
			rank, message := slices.Index(n.reasons, problem.Reason), problem.Message
			if rank < 0 {
				rank, message = slices.Index(n.reasons, n.otherwise), problem.Reason+": "+problem.Message
			}
			byReason[rank].add(p.Name, message)
		}
	}
	for rank, c := range byReason {
		if len(c.pods) > 0 {
			c.reason = n.reasons[rank]
			out = append(out, c)
		}
	}
	return out, reports
}

func (c *complaint) add(pod, message string) {
	if len(c.pods) == 0 {
		c.message = printable(message)
	}
	if !slices.Contains(c.pods[max(0, len(c.pods)-1):], pod) {
		c.pods = append(c.pods, pod)
	}
}

// describe says for each reason how many sidecars report it, which, and the message of the first.
func describe(complaints []complaint) string {
	var parts []string
	for _, c := range complaints {
		part := fmt.Sprintf("%s %s: %s", plural(len(c.pods), "sidecar reports", "sidecars report"), c.reason, list(c.pods))
		if c.message != "" {
			part += " (" + c.message + ")"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ". ")
}
