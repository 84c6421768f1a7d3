package v1alpha1

// PathHandling is what happens to a path that apps read in several ways.
// +kubebuilder:validation:Enum=Reject;Keep
type PathHandling string

// EmptySegments is what happens to empty segments of a path.
// +kubebuilder:validation:Enum=Keep;Merge;Reject
type EmptySegments string

// Values of PathHandling and EmptySegments.
const (
	// PathReject refuses the request.
	PathReject PathHandling = "Reject"
	// PathKeep passes the path on as it was sent.
	PathKeep PathHandling = "Keep"

	// EmptySegmentsKeep passes empty segments on.
	EmptySegmentsKeep EmptySegments = "Keep"
	// EmptySegmentsMerge removes them.
	EmptySegmentsMerge EmptySegments = "Merge"
	// EmptySegmentsReject refuses the request.
	EmptySegmentsReject EmptySegments = "Reject"
)

// PathOptions says which paths are passed on although apps read them in several ways. Rules then match every reading: a request
// passes only if authorization allows each, and a rate limit applies if it matches one. Dot segments and control characters are
// always refused.
type PathOptions struct {
	// EncodedSlash is what happens to %2F, as in group%2Fproject. Rules match it as a part of its segment and as a separator.
	// +optional
	EncodedSlash PathHandling `json:"encodedSlash,omitempty"`
	// Semicolon is what happens to ; and %3B, as in ;jsessionid=1. Rules match the path with and without what follows it in its segment.
	// +optional
	Semicolon PathHandling `json:"semicolon,omitempty"`
	// Backslash is what happens to \ and %5C. The app receives %5C. Rules match it as a part of its segment and as a separator.
	// +optional
	Backslash PathHandling `json:"backslash,omitempty"`
	// DoubleEncoding is what happens to escapes of special characters that are escaped again, such as %252F. Rules match the path
	// decoded once and twice.
	// +optional
	DoubleEncoding PathHandling `json:"doubleEncoding,omitempty"`
	// EmptySegments is what happens to empty segments, as in /a//b: Keep passes them on, and rules match the path with and without
	// them. Merge removes them before rules match and before the app receives the path. Reject refuses the request.
	// +optional
	EmptySegments EmptySegments `json:"emptySegments,omitempty"`
}

// Paths says which paths are passed on although apps read them in several ways.
type Paths struct {
	PathOptions `json:",inline"`

	// CaseInsensitive makes rules match without regard to case, for apps that do so too.
	// +optional
	CaseInsensitive bool `json:"caseInsensitive,omitempty"`

	// Routes have options of their own, by the beginning of the path. They can only be more lenient than the options above.
	// +optional
	// +listType=map
	// +listMapKey=prefix
	// +kubebuilder:validation:MaxItems=32
	Routes []PathRoute `json:"routes,omitempty"`
}

// PathRoute has the options of some paths. An option that is unset is that of spec.paths.
type PathRoute struct {
	// Prefix is the beginning of the paths, in whole segments: /api also means /api/v4. It is compared to the path as it was sent, before
	// decoding, so it has no percent-encoding. The longest prefix applies.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^(/[A-Za-z0-9._~!$&'()+,=:@-]+)+$")`,message="not the beginning of a path as it was sent: write / and names, without a slash at its end, such as /api/v4/projects"
	Prefix string `json:"prefix"`

	PathOptions `json:",inline"`
}
