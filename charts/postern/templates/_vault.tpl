{{/*
The vault section of the SidecarClass, as YAML. It is empty without an address. Call it with the root.
*/}}
{{- define "postern.vault" -}}
{{- $vault := .Values.vault -}}
{{- $kubernetes := $vault.auth.kubernetes -}}
{{- $appRole := $vault.auth.appRole -}}
{{- $options := list "namespace" "caBundle" "timeout" "pollInterval" "maxStale" -}}
{{- if not $vault.address -}}
  {{- $given := or $kubernetes.role $appRole.roleID $appRole.secretIDSecret.name -}}
  {{- range $options }}{{ $given = or $given (get $vault .) }}{{ end -}}
  {{- if $given }}{{ fail "vault has settings but no address: set vault.address" }}{{ end -}}
{{- else -}}
  {{- if eq (empty $kubernetes.role) (empty $appRole.roleID) -}}
    {{- fail "vault.auth: set exactly one of kubernetes.role and appRole.roleID, with which sidecars log in" -}}
  {{- end -}}
  {{- $auth := dict -}}
  {{- if $kubernetes.role -}}
    {{- if $appRole.secretIDSecret.name }}{{ fail "vault.auth.appRole.secretIDSecret needs appRole.roleID" }}{{ end -}}
    {{- $_ := set $auth "kubernetes" (dict "mount" $kubernetes.mount "role" $kubernetes.role "audience" $kubernetes.audience) -}}
  {{- else -}}
    {{- $_ := set $auth "appRole" (dict "mount" $appRole.mount "roleID" $appRole.roleID) -}}
    {{- with $appRole.secretIDSecret }}{{ if .name }}{{ $_ := set $auth.appRole "secretIDRef" (dict "name" .name "key" .key) }}{{ end }}{{ end -}}
  {{- end -}}
  {{- $spec := dict "address" $vault.address "auth" $auth -}}
  {{- range $name := $options -}}
    {{- with get $vault $name }}{{ $_ := set $spec $name . }}{{ end -}}
  {{- end -}}
  {{- toYaml $spec -}}
{{- end -}}
{{- end }}

{{/*
One secret of a SidecarClass, as YAML. It is empty if no secret is named. Call it with (dict "root" $ "name" NAME "ref" REF "short" SECRET),
where NAME is the name of REF in the values, and SECRET is the short form or nothing.
*/}}
{{- define "postern.secretRef" -}}
{{- $ref := .ref -}}
{{- if and .short .short.name -}}
  {{- if $ref }}{{ fail (printf "%s and %s are two ways to name one secret: choose one" .name (replace "Ref" "Secret" .name)) }}{{ end -}}
  {{- $ref = dict "secretKeyRef" (dict "name" .short.name "key" .short.key) -}}
{{- end -}}
{{- if $ref -}}
  {{- if and (hasKey $ref "vault") (not .root.Values.vault.address) }}{{ fail (printf "%s is in Vault: set vault.address" .name) }}{{ end -}}
  {{- toYaml $ref -}}
{{- end -}}
{{- end }}
