package certs

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// collector shows when the operator's certificates end.
type collector struct {
	keeper *Keeper
	expiry *prometheus.Desc
}

// Register registers the metric of the keeper's certificates.
func (k *Keeper) Register(r prometheus.Registerer) error {
	c := &collector{k, prometheus.NewDesc("postern_operator_certificate_expiry_timestamp_seconds",
		"End of the operator's certificate and of the last of its CAs, in seconds since 1970.", []string{"certificate"}, nil)}
	if err := r.Register(c); err != nil {
		return fmt.Errorf("registering metrics of certificates: %w", err)
	}
	return nil
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) { ch <- c.expiry }

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	serving, err := c.keeper.GetCertificate(nil)
	if err != nil {
		return
	}
	end := func(name string, t time.Time) {
		ch <- prometheus.MustNewConstMetric(c.expiry, prometheus.GaugeValue, float64(t.Unix()), name)
	}
	end("serving", serving.Leaf.NotAfter)
	if ca := lastEnd(c.keeper.CA()); !ca.IsZero() {
		end("ca", ca)
	}
}

// lastEnd returns the last end of the certificates of a bundle: clients trust the operator as long as one of them is valid.
func lastEnd(bundle []byte) (last time.Time) {
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil && cert.NotAfter.After(last) {
			last = cert.NotAfter
		}
	}
	return last
}
