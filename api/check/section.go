package check

import "github.com/posterndev/postern/api/compiled"

// Sections of a document that a stage also validates when it is built. With these aliases a stage fills them in from its own
// Config, and does not import package compiled.
type (
	CORSSection     = compiled.CORS
	HeadersSection  = compiled.Headers
	HeaderField     = compiled.HeaderField
	HeaderRoute     = compiled.HeaderRoute
	HeaderRules     = compiled.HeaderRules
	Match           = compiled.Match
	ProviderSection = compiled.Provider
	TokenLocation   = compiled.TokenLocation
	RequiredClaim   = compiled.RequiredClaim
	ClaimMembers    = compiled.ClaimMembers
	ClaimToHeader   = compiled.ClaimToHeader
	Duration        = compiled.Duration
	RuleConditions  = compiled.Conditions
	ClaimCondition  = compiled.ClaimCondition
	HeaderCondition = compiled.HeaderCondition
)
