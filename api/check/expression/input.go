package expression

import (
	"encoding/json"
	"errors"
	"net/textproto"
	"reflect"
	"strconv"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// activation resolves the names of an expression, each when it is used.
type activation struct{ in *Input }

// ResolveName implements cel.Activation.
func (a activation) ResolveName(name string) (any, bool) {
	switch name {
	case "request.method":
		return types.String(a.in.Method), true
	case "request.path":
		return types.String(a.in.Path), true
	case "request.segments":
		return types.NewStringList(adapter{}, a.in.Segments), true
	case "request.query":
		return types.NewDynamicMap(adapter{}, map[string][]string(a.in.Query)), true
	case "request.headers":
		return headers{a.in.Headers}, true
	case "request.host":
		if a.in.Host == "" {
			return types.NewErr("host is unknown"), true
		}
		return types.String(a.in.Host), true
	case "request.address":
		if !a.in.Address.IsValid() {
			return types.NewErr("address is unknown"), true
		}
		return types.String(a.in.Address.Unmap().WithZone("").String()), true
	case "request.time":
		return types.Timestamp{Time: a.in.Time.UTC()}, true
	case "claims":
		return types.NewStringInterfaceMap(adapter{}, a.in.Claims), true
	}
	return nil, false
}

// Parent implements cel.Activation.
func (activation) Parent() cel.Activation { return nil }

// adapter converts claims, of which encoding/json has kept the numbers as text.
type adapter struct{}

// NativeToValue implements types.Adapter.
func (a adapter) NativeToValue(value any) ref.Val {
	switch v := value.(type) {
	case json.Number:
		return number(v)
	case map[string]any:
		return types.NewStringInterfaceMap(a, v)
	case []any:
		return types.NewDynamicList(a, v)
	}
	return types.DefaultTypeAdapter.NativeToValue(value)
}

// number converts a number of JSON. A whole number of more than 64 bits has no value: as a double it would equal others.
func number(n json.Number) ref.Val {
	if i, err := n.Int64(); err == nil {
		return types.Int(i)
	}
	if u, err := strconv.ParseUint(string(n), 10, 64); err == nil {
		return types.Uint(u)
	}
	f, err := n.Float64()
	if err != nil || !strings.ContainsAny(string(n), ".eE") {
		return types.NewErr("number out of range")
	}
	return types.Double(f)
}

// headers are the header fields by their names in lower case. A field that was sent several times has no value: servers read the first, the
// last or all of them, so that a condition could be met by one and the app read another.
type headers struct{ fields map[string][]string }

var _ traits.Mapper = headers{}

// find returns a field's value.
func (h headers) find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok || strings.ToLower(string(name)) != string(name) {
		return nil, false
	}
	values, ok := h.fields[textproto.CanonicalMIMEHeaderKey(string(name))]
	switch {
	case !ok || len(values) == 0:
		return nil, false
	case len(values) > 1:
		return types.NewErr("field is there twice"), true
	}
	return types.String(values[0]), true
}

// Find implements traits.Mapper.
func (h headers) Find(key ref.Val) (ref.Val, bool) { return h.find(key) }

// Get implements traits.Indexer.
func (h headers) Get(key ref.Val) ref.Val {
	v, ok := h.find(key)
	if !ok {
		return types.NewErr("no such field")
	}
	return v
}

// Contains implements traits.Container.
func (h headers) Contains(key ref.Val) ref.Val {
	v, ok := h.find(key)
	if ok && types.IsError(v) {
		return v
	}
	return types.Bool(ok)
}

// IsSet implements traits.FieldTester, for has().
func (h headers) IsSet(field ref.Val) ref.Val { return h.Contains(field) }

// Size implements traits.Sizer.
func (h headers) Size() ref.Val { return types.Int(len(h.fields)) }

// Iterator implements traits.Iterable. No expression iterates, because Compile refuses it; if one did, each name would be an error.
func (h headers) Iterator() traits.Iterator {
	return types.NewDynamicList(adapter{}, []ref.Val{types.NewErr("headers are looked up by name")}).Iterator()
}

// Equal implements ref.Val.
func (h headers) Equal(ref.Val) ref.Val { return types.NewErr("headers cannot be compared as a whole") }

// Type implements ref.Val.
func (headers) Type() ref.Type { return types.MapType }

// ConvertToNative implements ref.Val.
func (headers) ConvertToNative(reflect.Type) (any, error) {
	return nil, errors.New("converting headers: they have no other form")
}

// ConvertToType implements ref.Val.
func (headers) ConvertToType(ref.Type) ref.Val {
	return types.NewErr("headers cannot be converted")
}

// Value implements ref.Val.
func (h headers) Value() any { return h.fields }

// sizes are the sizes of inputs, from which the cost of an expression is estimated: the bounds of a request's head and of a token.
type sizes struct{}

const (
	maxText     = 8 << 10
	maxClaim    = 1 << 10
	maxElements = 100
)

// EstimateSize implements checker.CostEstimator.
func (sizes) EstimateSize(element checker.AstNode) *checker.SizeEstimate {
	switch element.Type().Kind() {
	case types.StringKind, types.BytesKind:
		return &checker.SizeEstimate{Min: 0, Max: maxText}
	case types.DynKind:
		return &checker.SizeEstimate{Min: 0, Max: maxClaim}
	case types.ListKind, types.MapKind:
		return &checker.SizeEstimate{Min: 0, Max: maxElements}
	}
	return nil
}

// EstimateCallCost implements checker.CostEstimator.
func (sizes) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}
