package resources

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/keys/password"
)

// registerBacklog registers the metric of the queue of password hashes. There are two hashers for a moment while a new document replaces one.
func registerBacklog(r prometheus.Registerer, hashers func() []*password.Hasher) error {
	backlog := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "postern_password_hash_backlog_seconds",
		Help: "Estimated time until the password hashes in progress are computed. Beyond some seconds, further ones are refused with 503.",
	}, func() float64 {
		longest := time.Duration(0)
		for _, h := range hashers() {
			longest = max(longest, h.Backlog())
		}
		return longest.Seconds()
	})
	if err := r.Register(backlog); err != nil {
		return fmt.Errorf("registering metrics of password hashes: %w", err)
	}
	return nil
}
