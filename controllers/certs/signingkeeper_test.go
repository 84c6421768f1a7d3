package certs

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// TestSigningKeeper checks that an empty Secret gets the key back, and that another key ends the operator.
func TestSigningKeeper(t *testing.T) {
	mine, err := newSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	encode := func() []byte {
		key, err := newSigningKey()
		if err != nil {
			t.Fatal(err)
		}
		b, err := encodeKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	tests := map[string]struct {
		objects []client.Object
		wantErr func(error) bool
	}{
		"empty": {[]client.Object{secret(nil)}, func(err error) bool { return err == nil }},
		"another key": {[]client.Object{secret(map[string][]byte{keySigning: encode()})}, func(err error) bool {
			return errors.Is(err, ErrOtherKey)
		}},
		"deleted": {nil, apierrors.IsNotFound},
		"invalid": {[]client.Object{secret(map[string][]byte{keySigning: []byte("x")})}, func(err error) bool {
			return err != nil && !errors.Is(err, ErrOtherKey)
		}},
	}
	for title, tt := range tests {
		t.Run(title, func(t *testing.T) {
			c := fake.NewClientBuilder().WithObjects(tt.objects...).Build()
			k := &SigningKeeper{Client: c, Secret: secretName, Key: mine}
			if err := k.compare(t.Context()); !tt.wantErr(err) {
				t.Fatalf("got %v", err)
			}
			s := &corev1.Secret{}
			if err := c.Get(t.Context(), secretName, s); err != nil {
				return
			}
			key, err := parseSigningKey(s.Data[keySigning])
			if restored := err == nil && key.Equal(mine); restored != tt.wantErr(nil) {
				t.Errorf("the Secret holds the key in use: %t, %v", restored, err)
			}
		})
	}
}
