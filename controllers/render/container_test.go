package render

import (
	"reflect"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

func TestInitContainersByInterception(t *testing.T) {
	for name, tc := range map[string]struct {
		interception v1alpha1.Interception
		want         []string
	}{
		"redirect": {v1alpha1.InterceptRedirect, []string{RedirectName, SidecarName}},
		"takeover": {v1alpha1.InterceptTakeover, []string{SidecarName}},
	} {
		t.Run(name, func(t *testing.T) {
			s := sidecar()
			s.Interception = tc.interception
			containers, err := s.InitContainers(Pod{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range containers {
				got = append(got, c.Name)
				if len(c.Ports) > 0 {
					t.Errorf("%s declares ports", c.Name)
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("containers are %q, want %q", got, tc.want)
			}
			last := containers[len(containers)-1]
			if env := environmentOf(last); env[compiled.EnvInterception] != string(tc.interception) {
				t.Errorf("the sidecar's interception is %q", env[compiled.EnvInterception])
			}
		})
	}
}

func TestSidecarTakesImageOfClass(t *testing.T) {
	s := sidecar()
	s.Class.Spec.Image, s.Class.Spec.ImagePullPolicy = "registry.example/other:2", corev1.PullAlways
	containers, err := s.InitContainers(Pod{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range containers {
		if c.Image != "registry.example/other:2" || c.ImagePullPolicy != corev1.PullAlways {
			t.Errorf("%s has image %s, %s", c.Name, c.Image, c.ImagePullPolicy)
		}
	}
}

// TestRedirectTakesResourcesOfClass checks that the redirect container has the class's resources. With a quota on limits.cpu, for
// example, every container of the pod must have that limit.
func TestRedirectTakesResourcesOfClass(t *testing.T) {
	s := sidecar()
	s.Interception = v1alpha1.InterceptRedirect
	s.Class.Spec.Resources = &corev1.ResourceRequirements{
		Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1"), corev1.ResourceMemory: resource.MustParse("128Mi")},
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("5m")},
		Claims:   []corev1.ResourceClaim{{Name: "sidecar"}},
	}
	containers, err := s.InitContainers(Pod{})
	if err != nil {
		t.Fatal(err)
	}
	redirect, class := containers[0].Resources, s.Class.Spec.Resources
	if !reflect.DeepEqual(redirect.Limits, class.Limits) || !reflect.DeepEqual(redirect.Requests, class.Requests) || redirect.Claims != nil {
		t.Errorf("resources are %+v, want the class's", redirect)
	}
}

func TestMemoryLimit(t *testing.T) {
	for name, tc := range map[string]struct {
		resources *corev1.ResourceRequirements
		want      string
	}{
		"default":  {nil, "241591905"},
		"of class": {&corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1000")}}, "900"},
		"none":     {&corev1.ResourceRequirements{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := sidecar()
			s.Class.Spec.Resources = tc.resources
			c, err := s.container(Pod{})
			if err != nil {
				t.Fatal(err)
			}
			if got := environmentOf(c)["GOMEMLIMIT"]; got != tc.want {
				t.Errorf("GOMEMLIMIT is %q, want %q", got, tc.want)
			}
		})
	}
}

func TestSidecarIsToldOfPod(t *testing.T) {
	probes := []compiled.Probe{{Name: "app/liveness", Timeout: compiled.Duration(1e9), TCP: &compiled.ProbeTCP{Port: 8080}}}
	c, err := sidecar().container(Pod{Ports: []compiled.ContainerPort{{Name: "web", Number: 8080}}, Probes: probes})
	if err != nil {
		t.Fatal(err)
	}
	env := environmentOf(c)
	if got := env[compiled.EnvContainerPorts]; got != `[{"name":"web","number":8080}]` {
		t.Errorf("ports are %s", got)
	}
	if got := env[compiled.EnvProbes]; got != `[{"name":"app/liveness","tcp":{"port":8080},"timeout":"1s"}]` {
		t.Errorf("probes are %s", got)
	}
	if _, err := sidecar().container(Pod{Probes: []compiled.Probe{{}}}); err == nil {
		t.Error("an empty probe was rendered")
	}
}

func TestSecretsAreMounted(t *testing.T) {
	s := sidecar()
	s.Policy = secretPolicy()
	c, err := s.container(Pod{})
	if err != nil {
		t.Fatal(err)
	}
	mounted := map[string]string{}
	for _, m := range c.VolumeMounts {
		mounted[m.Name] = m.MountPath
		if !m.ReadOnly {
			t.Errorf("%s is writable", m.Name)
		}
	}
	want := map[string]string{"keys": "/var/run/postern/secrets/keys",
		"dotted.name": "/var/run/postern/secrets/dotted.name", "redis": "/var/run/postern/secrets/redis"}
	for _, v := range s.Volumes() {
		if _, ok := mounted[v.Name]; !ok {
			t.Errorf("volume %s is not mounted", v.Name)
		}
		if v.Secret == nil {
			continue
		}
		if !*v.Secret.Optional || mounted[v.Name] != want[v.Secret.SecretName] {
			t.Errorf("Secret %s is mounted at %s, want %s", v.Secret.SecretName, mounted[v.Name], want[v.Secret.SecretName])
		}
		delete(want, v.Secret.SecretName)
	}
	if len(want) > 0 || len(s.Volumes()) != 5 || len(c.VolumeMounts) != 5 {
		t.Errorf("not mounted: %v, of %d volumes and %d mounts", want, len(s.Volumes()), len(c.VolumeMounts))
	}
}

// TestClaimsAreMounted: the sidecar, and no other container, has the claim, read-only, in the folder that its environment names.
func TestClaimsAreMounted(t *testing.T) {
	s := sidecar()
	s.Policy = claimPolicy()
	containers, err := s.InitContainers(Pod{})
	if err != nil {
		t.Fatal(err)
	}
	volumes := map[string]*corev1.PersistentVolumeClaimVolumeSource{}
	for _, v := range s.Volumes() {
		if v.PersistentVolumeClaim != nil {
			volumes[v.Name] = v.PersistentVolumeClaim
		}
	}
	var mounts []string
	for _, c := range containers {
		for _, m := range c.VolumeMounts {
			if claim, ok := volumes[m.Name]; ok {
				mounts = append(mounts, c.Name+" "+claim.ClaimName+" "+m.MountPath)
				if !m.ReadOnly || !claim.ReadOnly {
					t.Errorf("%s can be written", m.MountPath)
				}
				if got := environmentOf(c)[compiled.EnvVolumesDir]; got != "/var/run/postern/volumes" {
					t.Errorf("%s is %q", compiled.EnvVolumesDir, got)
				}
			}
		}
	}
	if len(volumes) != 1 || !slices.Equal(mounts, []string{"postern breached.lists /var/run/postern/volumes/breached.lists"}) {
		t.Errorf("%d volumes, mounted: %q", len(volumes), mounts)
	}
	s.Policy.PasswordPolicy.Breached = &compiled.BreachedPasswords{URL: "https://p.example.com/range"}
	if c, err := s.container(Pod{}); err != nil || len(s.Volumes()) != 2 || len(c.VolumeMounts) != 2 || environmentOf(c)[compiled.EnvVolumesDir] != "" {
		t.Errorf("a list at a URL needs a volume: %v", err)
	}
}

// TestTokensForKeySets checks that a sidecar has a token for each audience, the cluster's CA, and their folder, if a key set asks for
// the pod's token, and nothing of it otherwise.
func TestTokensForKeySets(t *testing.T) {
	keys := func(audience string) compiled.Provider {
		return compiled.Provider{Keys: compiled.Keys{URI: "https://a", Bearer: &compiled.Bearer{ServiceAccount: &compiled.ServiceAccountToken{Audience: audience}}}}
	}
	for name, tc := range map[string]struct {
		providers []compiled.Provider
		want      []string
	}{
		"a public key set": {[]compiled.Provider{{Keys: compiled.Keys{URI: "https://a"}}}, []string{"token operator"}},
		"a Secret":         {[]compiled.Provider{{Keys: compiled.Keys{URI: "https://a", Bearer: &compiled.Bearer{Secret: &compiled.SecretRef{Name: "s", Key: "k"}}}}}, []string{"token operator"}},
		"the Kubernetes API": {[]compiled.Provider{keys("")}, []string{
			"token operator", "token " + compiled.KeysTokenName(""), "ca kube-root-ca.crt " + compiled.ClusterCAName}},
		"two audiences": {[]compiled.Provider{keys("z"), keys("y"), keys("z")}, []string{
			"token operator", "token " + compiled.KeysTokenName("y"), "token " + compiled.KeysTokenName("z"), "ca kube-root-ca.crt " + compiled.ClusterCAName}},
	} {
		t.Run(name, func(t *testing.T) {
			s := sidecar()
			s.Policy.Providers = tc.providers
			var got []string
			for _, v := range s.Volumes() {
				if v.Projected == nil {
					continue
				}
				for _, source := range v.Projected.Sources {
					if token := source.ServiceAccountToken; token != nil {
						got = append(got, "token "+token.Path)
					}
					if cm := source.ConfigMap; cm != nil && *cm.Optional {
						got = append(got, "ca "+cm.Name+" "+cm.Items[0].Path)
					}
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("projected: %q, want %q", got, tc.want)
			}
			c, err := s.container(Pod{})
			if err != nil {
				t.Fatal(err)
			}
			want := ""
			if len(tc.want) > 1 {
				want = compiled.KeysTokenDir
			}
			if dir := environmentOf(c)[compiled.EnvKeysTokenDir]; dir != want {
				t.Errorf("%s = %q, want %q", compiled.EnvKeysTokenDir, dir, want)
			}
		})
	}
}

// TestTokenForVault checks that a sidecar has a token for Vault, and its path, if the document uses it to log in to Vault.
func TestTokenForVault(t *testing.T) {
	audiences := func(s Sidecar) (out []string) {
		for _, v := range s.Volumes() {
			if v.Projected == nil {
				continue
			}
			for _, source := range v.Projected.Sources {
				token := source.ServiceAccountToken
				out = append(out, token.Audience+" "+token.Path)
			}
		}
		return out
	}
	for name, tc := range map[string]struct {
		vault    *compiled.Vault
		want     []string
		wantFile string
	}{
		"no Vault":             {want: []string{"postern.dev/operator operator"}},
		"another login":        {vault: &compiled.Vault{AppRole: &compiled.VaultAppRole{RoleID: "r"}}, want: []string{"postern.dev/operator operator"}},
		"login with the token": {vault: &compiled.Vault{Kubernetes: &compiled.VaultKubernetes{Audience: "safe"}}, want: []string{"postern.dev/operator operator", "safe vault"}, wantFile: compiled.VaultTokenFile},
	} {
		t.Run(name, func(t *testing.T) {
			s := sidecar()
			s.Policy.Vault = tc.vault
			if got := audiences(s); !slices.Equal(got, tc.want) {
				t.Errorf("tokens = %q, want %q", got, tc.want)
			}
			c, err := s.container(Pod{})
			if err != nil {
				t.Fatal(err)
			}
			if got := environmentOf(c)[compiled.EnvVaultTokenFile]; got != tc.wantFile {
				t.Errorf("%s = %q, want %q", compiled.EnvVaultTokenFile, got, tc.wantFile)
			}
		})
	}
}
