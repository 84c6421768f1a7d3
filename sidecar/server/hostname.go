package server

import "os"

// hostname returns the name of the pod, or of the machine; empty if it is not known.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}
