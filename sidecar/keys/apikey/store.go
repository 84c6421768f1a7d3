package apikey

import "github.com/posterndev/postern/sidecar/keys/keyfile"

// ErrUnavailable is the error while no file was read.
var ErrUnavailable = keyfile.ErrUnavailable

// Store has the current key file of a source. It is safe for concurrent use.
type Store = keyfile.Store[*File]

// Open reads the source once, and then in the background until Close. The record of use of a key survives a new file.
func Open(source keyfile.Source) *Store {
	return keyfile.Open(source, keyfile.Format[*File]{Entries: "API keys", Parse: func(data []byte, last *File) (*File, error) {
		f, err := Parse(data)
		if err != nil {
			return nil, err
		}
		f.inherit(last)
		return f, nil
	}})
}

// inherit keeps the record of use of the keys that were in the earlier file.
func (f *File) inherit(earlier *File) {
	if earlier == nil {
		return
	}
	for _, e := range f.entries {
		if was := earlier.bySum[e.sum]; was != nil && was.ID == e.ID {
			e.use = was.use
		}
	}
}
