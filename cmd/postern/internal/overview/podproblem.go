package overview

import (
	"fmt"
	"slices"
	"strings"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/status"
)

// podProblems returns one problem for each reason, the most severe first.
func (p *place) podProblems(s *subject, judged []judgement) []Problem {
	byReason := map[string][]judgement{}
	for _, j := range judged {
		if j.Reason != "" {
			byReason[j.Reason] = append(byReason[j.Reason], j)
		}
	}
	var out []Problem
	for _, reason := range status.Severities() {
		if same := byReason[reason]; len(same) > 0 {
			out = append(out, p.podProblem(s, reason, same))
			delete(byReason, reason)
		}
	}
	for _, j := range judged { // reasons of a newer operator
		if same := byReason[j.Reason]; len(same) > 0 {
			out = append(out, p.podProblem(s, j.Reason, same))
			delete(byReason, j.Reason)
		}
	}
	return out
}

// podProblem describes pods that have the same reason. It quotes the message of the first, and of others if theirs differ.
func (p *place) podProblem(s *subject, reason string, same []judgement) Problem {
	out := Problem{Severity: Error, Reason: reason}
	byMessage := map[string][]string{}
	var messages []string
	for _, j := range same {
		if _, ok := byMessage[j.Message]; !ok {
			messages = append(messages, j.Message)
		}
		byMessage[j.Message] = append(byMessage[j.Message], j.Name)
	}
	var parts []string
	for _, m := range messages[:min(len(messages), maxListed)] {
		if names := byMessage[m]; len(names) > 1 {
			parts = append(parts, fmt.Sprintf("%d pods: %s (%s)", len(names), m, list(names)))
		} else {
			parts = append(parts, "pod "+names[0]+": "+m)
		}
	}
	out.What = strings.Join(parts, "; ")
	if more := len(messages) - maxListed; more > 0 {
		out.What += fmt.Sprintf("; and %d more of other pods", more)
	}
	out.Commands = p.podCommands(same)
	switch {
	case same[0].restart && s.Spec.Rollout == v1alpha1.RolloutAutomatic:
		out.Do = "rollout is Automatic: the operator restarts the workloads, one after the other. To restart one now:"
	case reason == v1alpha1.ReasonPodsWithoutSidecar:
		out.Do = "nothing of the policy applies there: a pod gets its sidecar when it is created"
	case reason == v1alpha1.ReasonReachableAround:
		out.Do = "make the app listen on 127.0.0.1 there, or close the port"
	case reason == v1alpha1.ReasonRefusedBySidecar:
		out.Do = "change the policy; the sidecars keep the previous document"
	case reason == v1alpha1.ReasonReportTooOld:
		out.Do = "look at the sidecar's log, and at the network between the pod and the operator (port 9444)"
		out.Commands = append(out.Commands, doctor)
	case reason == v1alpha1.ReasonSidecarTooOld:
		out.Do = "name a newer sidecar in spec.image of the SidecarClass, and then restart the workload"
	}
	return out
}

// podCommands returns the commands that restart the workloads of the pods, or show the logs of the sidecars.
func (p *place) podCommands(same []judgement) []string {
	var out []string
	for _, j := range same {
		w := status.WorkloadOf(j.pod)
		command := fmt.Sprintf("kubectl logs %s -c postern -n %s --tail=20", j.Name, p.Name)
		switch {
		case j.restart && w.Restartable():
			command = fmt.Sprintf("kubectl rollout restart %s -n %s", w, p.Name)
		case j.restart && w.Name == "":
			command = fmt.Sprintf("kubectl delete pod %s -n %s   # and create it again", j.Name, p.Name)
		case j.restart:
			command = fmt.Sprintf("kubectl delete pod %s -n %s   # %s creates it again", j.Name, p.Name, w)
		case j.Reason == v1alpha1.ReasonAppFailing:
			command = fmt.Sprintf("kubectl logs %s -n %s --previous --tail=20", j.Name, p.Name)
		case j.Reason == v1alpha1.ReasonReachableAround:
			continue
		}
		if !slices.Contains(out, command) {
			out = append(out, command)
		}
	}
	if len(out) > maxListed && !same[0].restart {
		out = out[:1] // the log of one is enough
	}
	return out
}

// complaining returns the command for the log of the first sidecar that reports a problem of the condition's kind.
func (p *place) complaining(condition string, judged []judgement) []string {
	kinds := map[string]string{
		v1alpha1.ConditionSigningKeyReady: compiled.ProblemSigningKey, v1alpha1.ConditionKeysReady: compiled.ProblemKeys,
		v1alpha1.ConditionVaultReady: compiled.ProblemVault, v1alpha1.ConditionSharedState: compiled.ProblemRedis,
		v1alpha1.ConditionCertificateReady: compiled.ProblemCertificate,
	}
	for i := range judged {
		if judged[i].reports(kinds[condition]) {
			return []string{fmt.Sprintf("kubectl logs %s -c postern -n %s --tail=20", judged[i].Name, p.Name)}
		}
	}
	return nil
}
