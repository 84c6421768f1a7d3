package request

// valuesRoom is how many fields stages set on a request and its response in the usual case: X-Request-ID, three of X-Forwarded-*, an
// identity header, and RateLimit.
const valuesRoom = 6

// Values returns the lines of a field that has one line, value. The lines of the first few fields share one allocation. Appending to
// them makes a copy.
//
// A server may read the header of a response after the stages have returned. So the lines are never reused, unlike Info.
func (i *Info) Values(value string) []string {
	if i.values == nil {
		i.values = new([valuesRoom]string)
	}
	n := i.used
	if n == len(i.values) {
		return []string{value}
	}
	i.used++
	i.values[n] = value
	return i.values[n : n+1 : n+1]
}
