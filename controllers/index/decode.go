package index

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/types"

	"github.com/posterndev/postern/controllers/compile"
)

// Columns of the CRD's table that hold a key. The first column of every table is the name.
const (
	uidColumn        = "UID"
	generationColumn = "Generation"
)

// errNoColumns is returned for a table without them: the CRD is of an older version.
var errNoColumns = errors.New("the table has no columns " + uidColumn + " and " + generationColumn)

// decodeRows decodes a Table.
func decodeRows(r io.Reader) ([]Key, error) {
	uid, generation := 0, 0
	columns := func(value json.RawMessage) error {
		var list []struct{ Name string }
		if err := json.Unmarshal(value, &list); err != nil {
			return err
		}
		for i, column := range list {
			switch column.Name {
			case uidColumn:
				uid = i
			case generationColumn:
				generation = i
			}
		}
		return nil
	}
	var row struct{ Cells []any }
	return decodeList(r, "rows", map[string]func(json.RawMessage) error{"columnDefinitions": columns}, func(d *json.Decoder) (Key, error) {
		if uid == 0 || generation == 0 {
			return Key{}, errNoColumns
		}
		row.Cells = row.Cells[:0]
		if err := d.Decode(&row); err != nil {
			return Key{}, err
		}
		if len(row.Cells) <= max(uid, generation) {
			return Key{}, errors.New("it has too few cells")
		}
		name, _ := row.Cells[0].(string)
		id, _ := row.Cells[uid].(string)
		number, _ := row.Cells[generation].(float64) // exact up to 2^53
		return Key{name, types.UID(id), int64(number)}, nil
	})
}

// decodeItems decodes a PartialObjectMetadataList.
func decodeItems(r io.Reader) ([]Key, error) {
	return decodeList(r, "items", nil, func(d *json.Decoder) (Key, error) {
		var item struct{ Metadata Key }
		err := d.Decode(&item)
		return item.Metadata, err
	})
}

// decodeList decodes the list that is a member of an object, one element at a time. Members before the list that have a name of
// before are passed to it.
func decodeList(r io.Reader, member string, before map[string]func(json.RawMessage) error, decode func(*json.Decoder) (Key, error)) ([]Key, error) {
	d := json.NewDecoder(r)
	depth, err := enter(d, member, before)
	if err != nil {
		return nil, fmt.Errorf("decoding list: %w", err)
	}
	var keys []Key
	for depth == inList && d.More() {
		key, err := decode(d)
		if err != nil {
			return nil, fmt.Errorf("decoding policy %d: %w", len(keys), err)
		}
		// An unknown generation would pass for an old one, which the index has.
		if key.Name == "" || key.UID == "" || key.Generation < 1 {
			return nil, fmt.Errorf("decoding policy %d: it has no name, no uid or no generation", len(keys))
		}
		if keys = append(keys, key); len(keys) > compile.MaxPolicies {
			return nil, ErrTooMany
		}
	}
	return keys, leave(d, depth)
}

// Depths of the decoder.
const (
	inObject = 0
	inList   = 1
)

// enter moves to the first element of the list, and returns inList. The API server writes null for an empty list of metadata: then
// enter moves behind it, and returns inObject.
func enter(d *json.Decoder, member string, before map[string]func(json.RawMessage) error) (depth int, err error) {
	token, err := d.Token()
	if err != nil {
		return 0, err
	}
	if token != json.Delim('{') {
		return 0, fmt.Errorf("it begins with %v and is not an object", token)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return 0, err
		}
		if name == member {
			return enterValue(d, member)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return 0, err
		}
		if text, ok := name.(string); ok && before[text] != nil {
			if err := before[text](value); err != nil {
				return 0, fmt.Errorf("decoding %s: %w", text, err)
			}
		}
	}
	return 0, fmt.Errorf("it has no %s", member)
}

func enterValue(d *json.Decoder, member string) (depth int, err error) {
	switch token, err := d.Token(); {
	case err != nil:
		return 0, err
	case token == nil:
		return inObject, nil
	case token == json.Delim('['):
		return inList, nil
	default:
		return 0, fmt.Errorf("its %s begin with %v and are not a list", member, token)
	}
}

// leave reads the rest of the object: a list that was cut off must not pass for a short one.
func leave(d *json.Decoder, depth int) error {
	for depth >= 0 {
		token, err := d.Token()
		if err != nil {
			return fmt.Errorf("decoding end of list: %w", err)
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
	return nil
}
