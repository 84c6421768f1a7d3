// Package e2e proves on a real node what only a node can show: pods that Postern guards, attacked, reloaded, restarted and
// left alone by the operator and by Redis. run.sh makes the cluster, installs the chart and runs the tests, which have the
// build tag e2e.
//
// The process that runs the tests stands outside of the pods and has routes to them, as any other pod has. No test
// judges by the clock: each waits for a condition within generous limits, and what is worth knowing is measured and
// written down.
package e2e
