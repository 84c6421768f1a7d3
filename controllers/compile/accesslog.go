package compile

import (
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// accessLog converts a section of the class.
func (c *compiler) accessLog(in *v1alpha1.AccessLogOptions) *compiled.AccessLogOptions {
	if in == nil {
		return nil
	}
	out := &compiled.AccessLogOptions{Format: string(in.Format)}
	if in.SampleRatio != nil {
		var err error
		if out.SampleRatio, err = in.SampleRatio.Float(); err != nil {
			c.errorf("sidecarClass.spec.accessLogOptions.sampleRatio", "%v", err)
		}
	}
	for _, name := range in.Omit {
		out.Omit = append(out.Omit, string(name))
	}
	return out
}
