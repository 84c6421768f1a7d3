package compile

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/v1alpha1"
)

// TestTelemetryOfClass: the YAML as users write it is valid, and a mistake is a finding that says what to write.
func TestTelemetryOfClass(t *testing.T) {
	tests := map[string]struct{ spec, want string }{
		"the shortest":              {spec: `telemetry: {otlp: {endpoint: "otel.platform.svc:4317", protocol: grpc, sampleRatio: 0.1}}`},
		"endpoint alone":            {spec: `telemetry: {otlp: {endpoint: "[2001:db8::1]:4317"}}`},
		"with a path":               {spec: `telemetry: {otlp: {endpoint: "otel:4318/otlp", protocol: http, sampleRatio: 1, tls: {}}}`},
		"headers and TLS":           {spec: `telemetry: {otlp: {endpoint: "otel:4317", headersRef: {secretKeyRef: {name: otel, key: headers}}, tls: {mode: VerifyFull}}}`},
		"no port":                   {spec: `telemetry: {otlp: {endpoint: otel}}`, want: "spec.telemetry.otlp.endpoint: "},
		"a scheme":                  {spec: `telemetry: {otlp: {endpoint: "https://otel:4317"}}`, want: "spec.telemetry.otlp.endpoint: "},
		"a host with other signs":   {spec: `telemetry: {otlp: {endpoint: "user@otel:4317"}}`, want: "spec.telemetry.otlp.endpoint: "},
		"a path of grpc":            {spec: `telemetry: {otlp: {endpoint: "otel:4317/x"}}`, want: "spec.telemetry.otlp.endpoint: "},
		"a query":                   {spec: `telemetry: {otlp: {endpoint: "otel:4318/x?y", protocol: http}}`, want: "spec.telemetry.otlp.endpoint: "},
		"a path that goes up":       {spec: `telemetry: {otlp: {endpoint: "otel:4318/../x", protocol: http}}`, want: "spec.telemetry.otlp.endpoint: "},
		"the path of a signal":      {spec: `telemetry: {otlp: {endpoint: "otel:4318/v1/traces", protocol: http}}`, want: "spec.telemetry.otlp.endpoint: "},
		"a name for no certificate": {spec: `telemetry: {otlp: {endpoint: "otel:4317", tls: {mode: Disable, serverName: otel}}}`, want: "spec.telemetry.otlp.tls: "},
		"another protocol":          {spec: `telemetry: {otlp: {endpoint: "otel:4317", protocol: thrift}}`, want: "spec.telemetry.otlp.protocol: "},
		"a ratio above 1":           {spec: `telemetry: {otlp: {endpoint: "otel:4317", sampleRatio: 1.5}}`, want: "spec.telemetry.otlp.sampleRatio: "},
		"a ratio below 0":           {spec: `telemetry: {otlp: {endpoint: "otel:4317", sampleRatio: -0.1}}`, want: "spec.telemetry.otlp.sampleRatio: "},
		"headers in plain text":     {spec: `telemetry: {otlp: {endpoint: "otel:4317", headersRef: {secretKeyRef: {name: otel, key: headers}}, tls: {mode: Disable}}}`, want: "spec.telemetry.otlp.tls: "},
		"a CA that is none":         {spec: `telemetry: {otlp: {endpoint: "otel:4317", tls: {caBundle: nope}}}`, want: "spec.telemetry.otlp.tls.caBundle: "},

		"request ids":                 {spec: `requestID: {header: X-Correlation-ID, fromClients: Always}`},
		"an id's source":              {spec: `requestID: {fromClients: Sometimes}`, want: "spec.requestID.fromClients: "},
		"an id in Host":               {spec: `requestID: {header: Host}`, want: "spec.requestID.header: "},
		"an id in Authorization":      {spec: `requestID: {header: Authorization}`, want: "spec.requestID.header: "},
		"an id in a reserved field":   {spec: `requestID: {header: X-Postern-Id}`, want: "spec.requestID.header: "},
		"an id in X-Forwarded-For":    {spec: `requestID: {header: X-Forwarded-For}`, want: "spec.requestID.header: "},
		"an id in no header":          {spec: `requestID: {header: "a b"}`, want: "spec.requestID.header: "},
		"options of the access log":   {spec: `{accessLog: All, accessLogOptions: {sampleRatio: 0.1, omit: [clientAddr, userAgent], format: ECS}}`},
		"another format":              {spec: `accessLogOptions: {format: XML}`, want: "spec.accessLogOptions.format: "},
		"a field that does not exist": {spec: `accessLogOptions: {omit: [password]}`, want: "spec.accessLogOptions.omit[0]: "},
		"a share of the access log":   {spec: `accessLogOptions: {sampleRatio: 2}`, want: "spec.accessLogOptions.sampleRatio: "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			class := UnknownClass()
			if err := yaml.UnmarshalStrict([]byte(tt.spec), &class.Spec); err != nil {
				t.Fatal(err)
			}
			var errs []string
			for _, f := range Class(class) {
				if f.Severity == Error {
					errs = append(errs, f.String())
				}
			}
			if tt.want == "" && len(errs) > 0 || tt.want != "" && (len(errs) != 1 || !strings.HasPrefix(errs[0], tt.want)) {
				t.Errorf("found %q; want %q", errs, tt.want)
			}
		})
	}
}

// TestRequestIDAndIdentity: the header of ids is not one in which the app gets a claim.
func TestRequestIDAndIdentity(t *testing.T) {
	policy := &v1alpha1.SecurityPolicy{}
	if err := yaml.Unmarshal([]byte(`jwt: {providers: [{name: a, issuer: i, audiences: [x], algorithms: [ES256], jwks: {uri: "https://a.example.com/k"}, claimsToHeaders: [{claim: sub, header: x-request-id}]}]}`), &policy.Spec); err != nil {
		t.Fatal(err)
	}
	_, findings := Compile(policy, UnknownClass())
	if !HasErrors(findings) || !strings.Contains(findings[0].String(), "requestID.header: the policy uses X-Request-ID") {
		t.Errorf("found %v", findings)
	}
}
