package redirect

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestFromEnv(t *testing.T) {
	tests := map[string]struct {
		inbound, admin, excluded string
		want                     Config
		wantErr                  string
	}{
		"defaults":         {want: Config{InboundPort: 15990, AdminPort: 15991}},
		"all":              {"1", "2", " 22, 9,", Config{1, 2, []uint16{22, 9}}, ""},
		"not a number":     {inbound: "http", wantErr: `POSTERN_INBOUND_PORT has "http", want a port from 1 to 65535`},
		"zero":             {admin: "0", wantErr: `POSTERN_ADMIN_PORT has "0"`},
		"too large":        {excluded: "22,65536", wantErr: `POSTERN_EXCLUDED_PORTS has "65536"`},
		"same":             {inbound: "5", admin: "5", wantErr: "inbound and admin port are both 5"},
		"inbound excluded": {excluded: "15990", wantErr: "must not contain the inbound port"},
		"too many":         {excluded: strings.Repeat("7,", maxExcluded+1), wantErr: "at most 64"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			env := map[string]string{EnvInboundPort: tt.inbound, EnvAdminPort: tt.admin, EnvExcludedPorts: tt.excluded}
			got, err := FromEnv(func(name string) string { return env[name] })
			if tt.wantErr != "" {
				if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("error %v, want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil || got.InboundPort != tt.want.InboundPort || got.AdminPort != tt.want.AdminPort ||
				!slices.Equal(got.ExcludedPorts, tt.want.ExcludedPorts) {
				t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}

func TestProgramRefusesInvalidConfigs(t *testing.T) {
	for name, c := range map[string]Config{
		"nothing": {}, "excluded 0": {InboundPort: 1, AdminPort: 2, ExcludedPorts: []uint16{0}},
	} {
		if err := Program(c); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestClassify(t *testing.T) {
	tests := map[string]struct {
		err  error
		want error
	}{
		"no capability":      {syscall.EPERM, ErrPermission},
		"no module":          {syscall.ENOENT, ErrUnsupported},
		"no such family":     {syscall.EAFNOSUPPORT, ErrUnsupported},
		"no nftables at all": {syscall.EPROTONOSUPPORT, ErrUnsupported},
		"no nat in inet":     {syscall.EOPNOTSUPP, ErrUnsupported},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := classify(fmt.Errorf("receiving: %w", tt.err))
			if !errors.Is(err, tt.want) || !errors.Is(err, tt.err) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	if err := classify(syscall.ENOBUFS); errors.Is(err, ErrPermission) || errors.Is(err, ErrUnsupported) {
		t.Errorf("an unknown error became %v", err)
	}
}
