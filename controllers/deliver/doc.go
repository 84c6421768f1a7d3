// Package deliver is the operator's side of the sidecars' long poll: it sends documents and receives acknowledgements. Every
// replica serves it.
//
// A sidecar posts what it runs (compiled.Report) with the projected token of its pod. A TokenReview names the pod, and the
// pod's immutable spec names the policy, so no part of a request can ask for another policy's document. The response is the
// signed document as soon as it differs from the one that the sidecar has, or 204 after a while. The report is stored as a
// condition of the pod, where every replica can read it, also after a restart.
package deliver
