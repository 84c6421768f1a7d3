// Package certs manages the operator's secrets: the certificate of the webhook and the long poll, its CA, and the key that
// signs documents. They are in two Secrets of the operator's namespace, which the chart creates empty, so that the operator
// needs no right to create Secrets, and no right to any other Secret.
//
// Every replica reads them, and any replica may renew them: a write carries the resourceVersion that was read, so that one
// replica wins and the others use its result. Nothing waits for a leader, because the webhook must serve before there is one.
//
// github.com/open-policy-agent/cert-controller does much of this, but its informer lists every Secret of the namespace, it
// serves from a mounted Secret (which the kubelet refreshes about once a minute), and it replaces its CA without a bridge:
// sidecars get the CA once, when their pod is created.
package certs
