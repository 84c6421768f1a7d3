package certificate

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"

	"github.com/posterndev/postern/sidecar/keys/keyfile"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

// joined reads two values as one, so that they are parsed again when either changes. They may be of two versions while they are replaced: then
// they do not match, and are read again.
type joined struct{ first, second secret.Source }

// Read implements secret.Source.
func (j joined) Read(ctx context.Context) (secret.Value, error) {
	first, err := j.first.Read(ctx)
	if err != nil {
		return secret.Value{}, err
	}
	second, err := j.second.Read(ctx)
	if err != nil {
		return secret.Value{}, err
	}
	return secret.New(join(first.Reveal(), second.Reveal())), nil
}

// Changed implements keyfile.Live for secrets of Vault. For others nothing is ever ready, and they are polled.
func (j joined) Changed() <-chan struct{} {
	for _, source := range []secret.Source{j.first, j.second} {
		if live, ok := source.(keyfile.Live); ok {
			return live.Changed()
		}
	}
	return nil
}

// join puts the length of the first value before both, and split takes them apart. Without it, a text of the one could pass for one of the other.
func join(first, second []byte) []byte {
	return bytes.Join([][]byte{binary.BigEndian.AppendUint64(nil, uint64(len(first))), first, second}, nil)
}

func split(both []byte) (first, second []byte, err error) {
	if len(both) < 8 {
		return nil, nil, errors.New("there is nothing")
	}
	n, rest := binary.BigEndian.Uint64(both), both[8:]
	if n > uint64(len(rest)) {
		return nil, nil, errors.New("the value is cut short")
	}
	return rest[:n], rest[n:], nil
}
