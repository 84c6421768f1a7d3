// Package e2e tests on a real node what only a node can show: guarded pods under attacks, reloads, restarts, and outages of the
// operator and of Redis. run.sh creates the cluster, installs the chart and runs the tests, which have the build tag e2e.
//
// The test process runs outside of the pods and has routes to them, like any other pod. No test asserts a duration. Each test
// waits for a condition within generous limits. Interesting durations are measured and recorded.
package e2e
