package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/controllers/compile"
)

// table returns a Table with these rows, as the API server writes it.
func table(rows ...string) string {
	return `{"kind":"Table","metadata":{"resourceVersion":"7"},"columnDefinitions":[{"name":"Name"},{"name":"Ready"},{"name":"UID"},{"name":"Generation"}],"rows":[` +
		strings.Join(rows, ",") + `]}`
}

func metadataList(items ...string) string {
	return `{"kind":"X","items":[` + strings.Join(items, ",") + `]}`
}

const (
	rowA  = `{"cells":["a",null,"u",2],"object":null}`
	itemA = `{"metadata":{"name":"a","uid":"u","generation":2}}`
)

func TestDecodeKeys(t *testing.T) {
	many := slices.Repeat([]string{rowA}, compile.MaxPolicies+1)
	for name, tc := range map[string]struct {
		decode func(io.Reader) ([]Key, error)
		text   string
		want   []Key
		// wantErr is part of the error; "" for none.
		wantErr string
	}{
		"a table":                  {decodeRows, table(rowA, `{"cells":["b","True","v",1],"object":null}`), []Key{{"a", "u", 2}, {"b", "v", 1}}, ""},
		"an empty table":           {decodeRows, table(), nil, ""},
		"an older CRD":             {decodeRows, `{"columnDefinitions":[{"name":"Name"},{"name":"UID"}],"rows":[{"cells":["a","u"]}]}`, nil, errNoColumns.Error()},
		"rows before the columns":  {decodeRows, `{"rows":[` + rowA + `],"columnDefinitions":[]}`, nil, errNoColumns.Error()},
		"not a table":              {decodeRows, metadataList(itemA), nil, "it has no rows"},
		"too few cells":            {decodeRows, table(`{"cells":["a",null,"u"]}`), nil, "too few cells"},
		"no generation":            {decodeRows, table(`{"cells":["a",null,"u",null]}`), nil, "no generation"},
		"a generation of text":     {decodeRows, table(`{"cells":["a",null,"u","2"]}`), nil, "no generation"},
		"no uid":                   {decodeRows, table(`{"cells":["a",null,null,2]}`), nil, "no uid"},
		"too many":                 {decodeRows, table(many...), nil, ErrTooMany.Error()},
		"metadata":                 {decodeItems, metadataList(itemA, `{"metadata":{"name":"b","uid":"v","generation":1}}`), []Key{{"a", "u", 2}, {"b", "v", 1}}, ""},
		"no metadata":              {decodeItems, metadataList(), nil, ""},
		"null metadata":            {decodeItems, `{"kind":"X","items":null,"metadata":{"resourceVersion":"7"}}`, nil, ""},
		"metadata, no generation":  {decodeItems, metadataList(`{"metadata":{"name":"a","uid":"u"}}`), nil, "no generation"},
		"metadata that is a table": {decodeItems, table(rowA), nil, "it has no items"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tc.decode(strings.NewReader(tc.text))
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Errorf("got %v, %v, want an error with %q", got, err, tc.wantErr)
				}
				return
			}
			if err != nil || !slices.Equal(got, tc.want) {
				t.Errorf("got %v, %v, want %v", got, err, tc.want)
			}
			for i := range len(tc.text) {
				if got, err := tc.decode(strings.NewReader(tc.text[:i])); err == nil {
					t.Fatalf("%s, cut at %d: %v", tc.text, i, got)
				}
			}
		})
	}
}

func FuzzDecodeKeys(f *testing.F) {
	for _, seed := range []string{metadataList(itemA), metadataList(), `{"items":[{"metadata":{"name":"a","uid":"u"}}`, `{"items":null}`, table(rowA), table(), `{"rows":[{}]}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var whole struct {
			Items, Rows []json.RawMessage
		}
		valid := json.Unmarshal([]byte(text), &whole) == nil
		for member, decode := range map[string]func(io.Reader) ([]Key, error){"items": decodeItems, "rows": decodeRows} {
			got, err := decode(strings.NewReader(text))
			if err != nil || !valid || strings.Count(strings.ToLower(text), `"`+member+`"`) != 1 {
				continue
			}
			if want := map[string]int{"items": len(whole.Items), "rows": len(whole.Rows)}[member]; want > len(got) {
				t.Errorf("%d of %d keys", len(got), want)
			}
		}
	})
}

// TestCRDHasColumns checks that the API server's tables have the columns that hold a key.
func TestCRDHasColumns(t *testing.T) {
	b, err := os.ReadFile("../../config/crd/bases/postern.dev_securitypolicies.yaml")
	if err != nil {
		t.Fatal(err)
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(b, crd); err != nil {
		t.Fatal(err)
	}
	columns := map[string]string{}
	for _, c := range crd.Spec.Versions[0].AdditionalPrinterColumns {
		columns[c.Name] = c.Type + " " + c.JSONPath
	}
	if columns[uidColumn] != "string .metadata.uid" || columns[generationColumn] != "integer .metadata.generation" {
		t.Errorf("the columns are %v", columns)
	}
}

// TestKeyLister checks what the lister asks for, and that it falls back to metadata if the CRD has no columns for keys.
func TestKeyLister(t *testing.T) {
	for name, tc := range map[string]struct {
		table     string
		want      []Key
		wantReads int
		wantErr   bool
	}{
		"a table":          {table(rowA), []Key{{"a", "u", 2}}, 1, false},
		"an older CRD":     {`{"columnDefinitions":[{"name":"Name"}],"rows":[{"cells":["a"]}]}`, []Key{{"a", "u", 2}}, 2, false},
		"a broken table":   {table(rowA)[:100], nil, 1, true},
		"too large to end": {`{"x":"` + strings.Repeat("x", maxTable), nil, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			var reads []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				reads = append(reads, r.Header.Get("Accept")+" "+r.URL.String())
				w.Header().Set("Content-Type", "application/json")
				if strings.Contains(r.Header.Get("Accept"), "as=Table") {
					fmt.Fprint(w, tc.table)
				} else {
					fmt.Fprint(w, metadataList(itemA))
				}
			}))
			defer server.Close()
			lister, err := NewKeyLister(&rest.Config{Host: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			got, err := lister.Keys(context.Background(), "shop")
			if !slices.Equal(got, tc.want) || (err != nil) != tc.wantErr || errors.Is(err, errNoColumns) {
				t.Errorf("got %v, %v", got, err)
			}
			if len(reads) != tc.wantReads || !strings.HasSuffix(reads[0], " /apis/postern.dev/v1alpha1/namespaces/shop/securitypolicies?includeObject=None") {
				t.Errorf("the lister read %q", reads)
			}
		})
	}
}
