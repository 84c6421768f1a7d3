package check

import "github.com/posterndev/postern/api/compiled"

// accessLog checks a section of the SidecarClass.
func (c *checker) accessLog(o *compiled.AccessLogOptions) {
	const field = "sidecarClass.spec.accessLogOptions"
	if o == nil {
		return
	}
	c.add(field+".format", oneOf(o.Format, "Postern", "ECS"))
	if !(o.SampleRatio >= 0 && o.SampleRatio <= 1) {
		c.addf(field+".sampleRatio", "%v is not between 0 and 1; write the share of successful requests to log, for example 0.1", o.SampleRatio)
	}
	for i, name := range o.Omit {
		c.add(at(field+".omit", i), oneOf(name, compiled.AccessLogFields()...))
	}
}
