// Package overview says which policies guard which pods, what is wrong, and which commands mend it. It is pure: it uses no client, and the
// time is a parameter. It computes from what a person may read. It trusts neither the operator, which may be stopped, nor pods, which may be
// hostile: a pod is enforced only if its own report says so, and the policy's status is current.
package overview

import (
	"cmp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/api/v1alpha1"
)

// Input is what was read from the cluster.
type Input struct {
	// Namespaces are those that were asked for, with what is known of them.
	Namespaces []Namespace
	// Policies are those of the namespaces.
	Policies []v1alpha1.SecurityPolicy
	// Classes are valid if ClassesKnown. The same holds for Pods and Workloads.
	Classes   []v1alpha1.SidecarClass
	Pods      []corev1.Pod
	Workloads []Workload
	// ClassesKnown, PodsKnown and WorkloadsKnown say that the person may read them.
	ClassesKnown, PodsKnown, WorkloadsKnown bool
	// Unread says what could not be read.
	Unread []Unread
	Now    time.Time
}

// Namespace is a namespace and its labels, which are valid if Known.
type Namespace struct {
	Name   string
	Labels map[string]string
	Known  bool
}

// Unread is something that could not be read.
type Unread struct {
	// Right names the missing right in the words of kubectl auth can-i; empty if the error has another cause.
	Right string `json:"right,omitempty"`
	// Error is the API server's text.
	Error string `json:"error"`
	// Consequence says what is not known without it.
	Consequence string `json:"consequence"`
}

// State is the result for a policy or a pod.
type State string

// States. Of a policy, Enforced means that every pod enforces it. NoPods is not wrong: there is nothing to enforce.
const (
	Enforced    State = "Enforced"
	NotEnforced State = "NotEnforced"
	Shadow      State = "Shadow"
	NoPods      State = "NoPods"
	// Unknown: the operator has not said anything about the policy as it is now.
	Unknown State = "Unknown"
)

// Overview is the result.
type Overview struct {
	// Enforced says that there is a policy, and that each is Enforced or has NoPods.
	Enforced bool `json:"enforced"`
	// Policies are ordered: first those that are not enforced, then by namespace and name.
	Policies []Policy `json:"policies"`
	// Unguarded are the pods that no policy selects, in namespaces with policies or with injection enabled.
	Unguarded []Group `json:"unguarded,omitempty"`
	// Problems concern namespaces.
	Problems []Problem `json:"problems,omitempty"`
	// Unread says what could not be read.
	Unread []Unread `json:"unread,omitempty"`

	// free are the pods that no policy selects.
	free []*corev1.Pod
}

// Policy is a SecurityPolicy and what it guards.
type Policy struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	State     State  `json:"state"`
	// Reason is that of the condition Enforced, or of what prevents it.
	Reason string `json:"reason,omitempty"`
	// Since is when the state began; nil if it is not known.
	Since *time.Time `json:"since,omitempty"`
	// Guards are the sections of the policy.
	Guards       []Section `json:"guards,omitempty"`
	Mode         string    `json:"mode"`
	Class        string    `json:"class,omitempty"`
	Interception string    `json:"interception,omitempty"`
	Selector     string    `json:"selector"`
	Revision     int64     `json:"revision,omitempty"`
	Document     string    `json:"document,omitempty"`
	// Matched is the number of the pods that the policy governs, Current of those that enforce it, and Refused of those that cannot be created.
	Matched int `json:"matched"`
	Current int `json:"current"`
	Refused int `json:"refused,omitempty"`
	// Workloads own the pods.
	Workloads []Group   `json:"workloads,omitempty"`
	Pods      []Pod     `json:"pods,omitempty"`
	Problems  []Problem `json:"problems,omitempty"`
}

// Pod is a pod that a policy governs.
type Pod struct {
	Name     string `json:"name"`
	Workload string `json:"workload,omitempty"`
	State    State  `json:"state"`
	// Reason is one of the reasons of the condition Enforced; empty if the pod enforces the policy.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Image and Version are those of the sidecar; empty without one.
	Image   string `json:"image,omitempty"`
	Version string `json:"version,omitempty"`
	// Document is the hash of the document that the sidecar runs.
	Document string `json:"document,omitempty"`
	// Since is when the sidecar's state began; nil if it has not reported. Reported is when it last confirmed its report.
	Since    *time.Time `json:"since,omitempty"`
	Reported *time.Time `json:"reported,omitempty"`
}

// Group is a workload, and how many of its pods are meant.
type Group struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	Pods      int    `json:"pods"`
	Current   int    `json:"current,omitempty"`
}

// Severity is how bad a problem is.
type Severity string

// Severities: with an Error something is not enforced that should be. A Warning is about something else. A Note needs no action.
const (
	Error   Severity = "Error"
	Warning Severity = "Warning"
	Note    Severity = "Note"
)

// Problem is something that is wrong, and how to mend it.
type Problem struct {
	Severity Severity `json:"severity"`
	Reason   string   `json:"reason"`
	What     string   `json:"what"`
	// Do says what to do in words, if commands alone do not say it.
	Do string `json:"do,omitempty"`
	// Commands mend it, or show what to mend.
	Commands []string `json:"commands,omitempty"`
}

// Of returns the overview.
func Of(in Input) Overview {
	o := Overview{Policies: []Policy{}, Unread: in.Unread, Enforced: len(in.Policies) > 0}
	for _, here := range in.split() {
		for i := range here.policies {
			o.Policies = append(o.Policies, here.policy(here.policies[i]))
		}
		o.free = append(o.free, here.free...)
		o.Unguarded = append(o.Unguarded, here.unguarded()...)
		o.Problems = append(o.Problems, here.problems()...)
	}
	for i := range o.Policies {
		if s := o.Policies[i].State; s != Enforced && s != NoPods {
			o.Enforced = false
		}
	}
	slices.SortStableFunc(o.Policies, func(a, b Policy) int {
		return cmp.Or(cmp.Compare(a.State.rank(), b.State.rank()), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return o
}

func (s State) rank() int {
	return slices.Index([]State{NotEnforced, Unknown, Shadow, Enforced, NoPods}, s)
}
