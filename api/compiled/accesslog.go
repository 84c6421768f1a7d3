package compiled

import "errors"

// AccessLogOptions says what the access log has of a request.
type AccessLogOptions struct {
	// SampleRatio is the share of successful requests that are logged, from 0 to 1.
	SampleRatio float64 `json:"sampleRatio"`
	// Omit are names of fields, as in the format Postern.
	Omit   []string `json:"omit,omitempty"`
	Format string   `json:"format"`
}

// AccessLogFields returns the names that Omit may have.
func AccessLogFields() []string {
	return []string{"path", "route", "bytes", "clientAddr", "userAgent", "port", "protocol", "policy", "provider", "subject", "tokenId", "cause"}
}

func (o *AccessLogOptions) validate() error {
	if o == nil {
		return nil
	}
	errs := []error{oneOf("format", o.Format, "Postern", "ECS")}
	if !(o.SampleRatio >= 0 && o.SampleRatio <= 1) {
		errs = append(errs, errors.New("sampleRatio is not between 0 and 1"))
	}
	for _, name := range o.Omit {
		errs = append(errs, oneOf("omit", name, AccessLogFields()...))
	}
	return errors.Join(errs...)
}
