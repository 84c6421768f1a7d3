package compiled

// Paths says which paths pass although apps read them in several ways.
type Paths struct {
	Options         PathOptions `json:"options"`
	CaseInsensitive bool        `json:"caseInsensitive,omitempty"`
	// Routes have options of their own, which are complete: nothing is inherited.
	Routes []PathRoute `json:"routes,omitempty"`
}

// PathOptions says which ambiguous characters pass.
type PathOptions struct {
	EncodedSlash   PathHandling `json:"encodedSlash"`
	Semicolon      PathHandling `json:"semicolon"`
	Backslash      PathHandling `json:"backslash"`
	DoubleEncoding PathHandling `json:"doubleEncoding"`
	EmptySegments  PathHandling `json:"emptySegments"`
}

// PathRoute has the options of the paths that begin with Prefix as they were sent.
type PathRoute struct {
	Prefix  string      `json:"prefix"`
	Options PathOptions `json:"options"`
}

// PathHandling says what happens to a path. Only EmptySegments can be Merge.
type PathHandling string

// Values of PathHandling that Validate accepts.
const (
	PathReject PathHandling = "Reject"
	PathKeep   PathHandling = "Keep"
	PathMerge  PathHandling = "Merge"
)
