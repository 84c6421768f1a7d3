// Package certs manages the operator's secrets: the certificate of the webhook and the long poll, its CA, and the key that
// signs documents. They are in two Secrets of the operator's namespace, which the chart creates empty. The operator can read no other
// Secret. It creates one of them only if it was deleted, with the content that it remembers: so a deletion changes nothing for sidecars.
//
// Every replica reads them, and any replica may renew them: a write carries the resourceVersion that was read, so that one
// replica wins and the others use its result. Nothing waits for a leader, because the webhook must serve before there is one.
//
// docs/design/0024-certificates-change-without-restarts.md says how a CA is replaced, and weighs
// github.com/open-policy-agent/cert-controller against this package.
package certs
