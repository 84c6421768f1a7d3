package check

import (
	"fmt"
	"net"
	"strings"

	"github.com/posterndev/postern/api/compiled"
)

// maxEndpoint bounds the endpoint of a collector, in bytes.
const maxEndpoint = 512

// telemetry checks a section of the SidecarClass.
func (c *checker) telemetry(t *compiled.Telemetry) {
	const field = "sidecarClass.spec.telemetry.otlp"
	if t == nil || t.OTLP == nil {
		return
	}
	o := t.OTLP
	c.add(field+".protocol", oneOf(o.Protocol, compiled.OTLPGRPC, compiled.OTLPHTTP))
	c.add(field+".endpoint", otlpEndpoint(o))
	if !(o.SampleRatio >= 0 && o.SampleRatio <= 1) {
		c.addf(field+".sampleRatio", "%v is not between 0 and 1; write the share of requests with a trace, for example 0.1", o.SampleRatio)
	}
	c.secret(field+".headersRef", o.Headers)
	if o.Headers != nil && o.TLS == nil {
		c.addf(field+".tls", "headersRef has credentials, which are not sent in plain text; write tls: {mode: VerifyFull}")
	}
	if o.TLS != nil {
		_, err := Certificates([]byte(o.TLS.CABundle))
		c.add(field+".tls.caBundle", err)
	}
}

// otlpEndpoint refuses what is not host:port, and a path that no request can have. The protocol http may have a path.
func otlpEndpoint(o *compiled.OTLP) error {
	address, path, hasPath := strings.Cut(o.Endpoint, "/")
	host, port, err := net.SplitHostPort(address)
	switch {
	case len(o.Endpoint) > maxEndpoint:
		return fmt.Errorf("it is longer than %d bytes; write host:port, for example otel.example.com:4317", maxEndpoint)
	case err != nil || host == "" || !isPort(port) || strings.ContainsFunc(host, notInHost):
		return fmt.Errorf("%.128q is not host:port; write it without a scheme, for example otel.example.com:4317", o.Endpoint)
	case hasPath && o.Protocol != compiled.OTLPHTTP:
		return fmt.Errorf("%.128q has a path, which only protocol http has; write host:port, for example otel.example.com:4317", o.Endpoint)
	case strings.HasSuffix(strings.TrimSuffix(path, "/"), "v1/traces"), strings.HasSuffix(strings.TrimSuffix(path, "/"), "v1/logs"):
		return fmt.Errorf("%.128q has the path of a signal, which is added; write for example otel.example.com:4318", o.Endpoint)
	case strings.ContainsFunc(path, notInURLPath) || strings.Contains(path, "..") || strings.Contains(path, "//"):
		return fmt.Errorf("%.128q has a path with other characters than letters, digits and / - . _ ~; write for example otel.example.com:4318/otlp", o.Endpoint)
	}
	return nil
}

func alphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

func notInHost(r rune) bool { return !alphanumeric(r) && !strings.ContainsRune("._-:", r) }

func notInURLPath(r rune) bool { return !alphanumeric(r) && !strings.ContainsRune("/-._~", r) }
