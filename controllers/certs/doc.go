// Package certs keeps the operator's secrets: the certificate that the webhook and the long poll are served with, the CA
// behind it, and the key that signs documents. Each lives in a Secret of the operator's own namespace, which the chart
// creates empty, so that the operator needs no right to create Secrets and none beyond these two names.
//
// Every replica reads, and any of them may renew: writes carry the resourceVersion that was read, so that one wins and the
// others take its result. Nothing waits for a leader, without whom the webhook could not serve at first.
//
// github.com/open-policy-agent/cert-controller does much of this, but its informer lists every Secret of the namespace, it
// serves from a mounted Secret (which the kubelet refreshes about once a minute), and its CA is replaced without a bridge:
// sidecars are told the CA once, when their pod is created.
package certs
