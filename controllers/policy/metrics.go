package policy

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/v1alpha1"
)

// conditions shows the conditions of all policies, from the cache of this replica.
type conditions struct {
	reader client.Reader
	status *prometheus.Desc
}

// RegisterConditions registers the metric of the policies' conditions. reader reads from a cache.
func RegisterConditions(reader client.Reader, r prometheus.Registerer) error {
	c := &conditions{reader, prometheus.NewDesc("postern_policy_condition",
		"1 for the present status and reason of each condition of a SecurityPolicy. Every replica of the operator reports it.",
		[]string{"namespace", "policy", "condition", "status", "reason"}, nil)}
	if err := r.Register(c); err != nil {
		return fmt.Errorf("registering metrics of policies: %w", err)
	}
	return nil
}

// Describe implements prometheus.Collector.
func (c *conditions) Describe(ch chan<- *prometheus.Desc) { ch <- c.status }

// collectTimeout bounds the wait for the cache.
const collectTimeout = 5 * time.Second

// Collect implements prometheus.Collector. While the cache is not synced it shows nothing.
func (c *conditions) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	var policies v1alpha1.SecurityPolicyList
	if err := c.reader.List(ctx, &policies, client.UnsafeDisableDeepCopy); err != nil {
		return
	}
	for i := range policies.Items {
		p := &policies.Items[i]
		for _, condition := range p.Status.Conditions {
			ch <- prometheus.MustNewConstMetric(c.status, prometheus.GaugeValue, 1, p.Namespace, p.Name, condition.Type, string(condition.Status), condition.Reason)
		}
	}
}
