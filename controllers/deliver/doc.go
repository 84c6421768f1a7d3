// Package deliver is the operator's end of the sidecars' long poll: documents out, acknowledgements in. Every replica
// serves it.
//
// A sidecar posts what it runs (compiled.Report) with the projected token of its pod. A TokenReview names the pod; the
// pod's own immutable spec names the policy; so there is nothing in a request with which a pod could ask for another
// policy's document. The answer is the signed document as soon as it differs from what the sidecar has, or 204 after a
// while. The report is kept as a condition of the pod, where every replica and every later one can read it.
package deliver
