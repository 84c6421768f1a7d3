package server

// A request that is used after its handler has returned is found by every test of this package.
func init() { poisonRequests = true }
