{{/* The service account of the audit writer. */}}
{{- define "postern.auditAccountName" -}}
{{- default "postern-audit" .Values.audit.serviceAccount.name -}}
{{- end }}

{{/* A secret in the form of the audit writer's settings, as YAML: call it with a secretRef of a SidecarClass. */}}
{{- define "postern.auditSecret" -}}
{{- if hasKey . "secretKeyRef" -}}
{{ toYaml (dict "name" .secretKeyRef.name "key" .secretKeyRef.key) }}
{{- else -}}
{{- $out := dict "vaultPath" .vault.path "key" .vault.key -}}
{{- with .vault.version }}{{ $_ := set $out "vaultVersion" (int .) }}{{ end -}}
{{ toYaml $out }}
{{- end -}}
{{- end }}

{{/* The Redis of the audit writer, as YAML: that of the class, with the writer's user. */}}
{{- define "postern.auditRedis" -}}
{{- $spec := include "postern.redis" . | fromYaml -}}
{{- if not $spec }}{{ fail "audit.enabled needs a Redis: set redis.url, redis.addresses or redis.bundled.enabled" }}{{ end -}}
{{- with .Values.audit.redis -}}
  {{- if ne (empty .username) (empty .passwordRef) }}{{ fail "audit.redis: username and passwordRef must both be set, or neither" }}{{ end -}}
  {{- range $key, $value := . }}{{ $_ := set $spec $key $value }}{{ end -}}
{{- end -}}
{{- $out := omit $spec "passwordRef" "sentinelPasswordRef" "tls" -}}
{{- with $spec.passwordRef }}{{ $_ := set $out "password" (include "postern.auditSecret" . | fromYaml) }}{{ end -}}
{{- with $spec.sentinelPasswordRef }}{{ $_ := set $out "sentinelPassword" (include "postern.auditSecret" . | fromYaml) }}{{ end -}}
{{- if hasKey $spec "tls" -}}
  {{- $tls := omit $spec.tls "certificateRef" "keyRef" -}}
  {{- with $spec.tls.certificateRef }}{{ $_ := set $tls "certificate" (include "postern.auditSecret" . | fromYaml) }}{{ end -}}
  {{- with $spec.tls.keyRef }}{{ $_ := set $tls "key" (include "postern.auditSecret" . | fromYaml) }}{{ end -}}
  {{- $_ := set $out "tls" $tls -}}
{{- end -}}
{{- toYaml $out -}}
{{- end }}

{{/* The database of the audit writer, as YAML. */}}
{{- define "postern.auditDatabase" -}}
{{- $database := default (default dict (get .Values.defaultClass "database")) .Values.audit.database -}}
{{- include "postern.auditDatabaseAs" (dict "root" . "credentials" $database.credentials "of" "audit.database" "for" "audit.enabled") -}}
{{- end }}

{{/* The database of the audit trail's maintenance, as YAML: that of the writer, with credentials of its own. */}}
{{- define "postern.maintenanceDatabase" -}}
{{- include "postern.auditDatabaseAs" (dict "root" . "credentials" .Values.audit.maintenance.credentials "of" "audit.maintenance" "for" "audit.maintenance.enabled") -}}
{{- end }}

{{/* The database of the audit trail, as YAML: call it with (dict "root" $ "credentials" VALUES "of" WHOSE "for" WHAT). */}}
{{- define "postern.auditDatabaseAs" -}}
{{- $values := .root.Values -}}
{{- $database := default (default dict (get $values.defaultClass "database")) $values.audit.database -}}
{{- if not (and $database.address $database.name) }}{{ fail (printf "%s needs a database: set address, name and credentials of audit.database, or of defaultClass.database" .for) }}{{ end -}}
{{- $out := pick $database "address" "name" "maxConnections" -}}
{{- $from := default dict .credentials -}}
{{- if and $from.vault (or $from.userRef $from.passwordRef) }}{{ fail (printf "%s.credentials: vault, or userRef and passwordRef, not both" .of) }}{{ end -}}
{{- if $from.vault -}}
  {{- $_ := set $out "vaultPath" $from.vault.path -}}
{{- else -}}
  {{- if not (and $from.userRef $from.passwordRef) }}{{ fail (printf "%s.credentials needs vault, or userRef and passwordRef" .of) }}{{ end -}}
  {{- $_ := set $out "user" (include "postern.auditSecret" $from.userRef | fromYaml) -}}
  {{- $_ := set $out "password" (include "postern.auditSecret" $from.passwordRef | fromYaml) -}}
{{- end -}}
{{- $tls := default dict $database.tls -}}
{{- if ne $tls.mode "Disable" }}{{ $_ := set $out "tls" (pick $tls "caBundle" "serverName") }}{{ end -}}
{{- toYaml $out -}}
{{- end }}

{{/* The Vault of the audit writer, as YAML. It is empty without an address. */}}
{{- define "postern.auditVault" -}}
{{- $spec := include "postern.vault" . | fromYaml -}}
{{- if $spec -}}
  {{- $out := omit $spec "auth" -}}
  {{- with $spec.auth.kubernetes }}{{ $_ := set $out "kubernetes" (merge (dict "role" (default .role $.Values.audit.vaultRole)) .) }}{{ end -}}
  {{- with $spec.auth.appRole -}}
    {{- $role := omit . "secretIDRef" -}}
    {{- with .secretIDRef }}{{ $_ := set $role "secretID" . }}{{ end -}}
    {{- $_ := set $out "appRole" $role -}}
  {{- end -}}
  {{- toYaml $out -}}
{{- end -}}
{{- end }}

{{/* The Vault of the audit trail's maintenance, as YAML. It is empty without an address. */}}
{{- define "postern.maintenanceVault" -}}
{{- $out := include "postern.auditVault" . | fromYaml -}}
{{- if and $out.kubernetes .Values.audit.maintenance.vaultRole }}{{ $_ := set $out.kubernetes "role" .Values.audit.maintenance.vaultRole }}{{ end -}}
{{- if $out }}{{ toYaml $out }}{{ end -}}
{{- end }}

{{/* The Secrets that the audit writer reads: a list of the keys of each, by name, as YAML. */}}
{{- define "postern.auditSecrets" -}}
{{- $redis := include "postern.auditRedis" . | fromYaml -}}
{{- $database := include "postern.auditDatabase" . | fromYaml -}}
{{- $vault := include "postern.auditVault" . | fromYaml -}}
{{- $refs := list $redis.password $redis.sentinelPassword (dig "tls" "certificate" nil $redis) (dig "tls" "key" nil $redis) -}}
{{- include "postern.auditSecretsOf" (dict "database" $database "vault" $vault "refs" $refs) -}}
{{- end }}

{{/* The keys of each Secret, by name, as YAML: call it with (dict "database" DATABASE "vault" VAULT "refs" OTHERS). */}}
{{- define "postern.auditSecretsOf" -}}
{{- $out := dict -}}
{{- $inVault := .database.vaultPath -}}
{{- range concat (list .database.user .database.password) .refs (list (dig "appRole" "secretID" nil .vault)) -}}
  {{- if . -}}
    {{- if .name }}{{ $_ := set $out .name (append (default list (get $out .name)) .key | uniq) }}{{ else }}{{ $inVault = true }}{{ end -}}
  {{- end -}}
{{- end -}}
{{- if and $inVault (not .vault) }}{{ fail "audit: a secret is in Vault: set vault.address" }}{{ end -}}
{{- toYaml $out -}}
{{- end }}

{{/* Where Secrets and the token for Vault are mounted: call it with (dict "secrets" SECRETS "vault" VAULT). */}}
{{- define "postern.auditMounts" -}}
{{- range $name := keys .secrets | sortAlpha }}
- {name: {{ printf "secret-%s" (sha256sum $name | trunc 10) }}, mountPath: /var/run/postern/secrets/{{ $name }}, readOnly: true}
{{- end }}
{{- if .vault.kubernetes }}
- {name: token, mountPath: /var/run/postern/token, readOnly: true}
{{- end }}
{{- end }}

{{/* The volumes of postern.auditMounts. */}}
{{- define "postern.auditVolumes" -}}
{{- $secrets := .secrets -}}
{{- range $name := keys $secrets | sortAlpha }}
- name: {{ printf "secret-%s" (sha256sum $name | trunc 10) }}
  secret:
    secretName: {{ $name | quote }}
    defaultMode: 0440
    items:
    {{- range get $secrets $name }}
    - {key: {{ . | quote }}, path: {{ . | quote }}}
    {{- end }}
{{- end }}
{{- with .vault.kubernetes }}
- name: token
  projected:
    defaultMode: 0440
    sources:
    - serviceAccountToken: {audience: {{ .audience | quote }}, expirationSeconds: 3600, path: vault}
{{- end }}
{{- end }}

{{/* The ports to which the audit writer connects, as a YAML list. Sentinels name servers, which usually have Redis's own port. */}}
{{- define "postern.auditPorts" -}}
{{- $redis := include "postern.auditRedis" . | fromYaml -}}
{{- $ports := list -}}
{{- range $redis.addresses }}{{ $ports = append $ports (regexFind "[0-9]+$" . | int) }}{{ end -}}
{{- if eq $redis.mode "Sentinel" }}{{ $ports = append $ports 6379 }}{{ end -}}
{{- toYaml (concat $ports (include "postern.maintenancePorts" . | fromYamlArray) | uniq) -}}
{{- end }}

{{/* The ports to which the audit trail's maintenance connects, as a YAML list. */}}
{{- define "postern.maintenancePorts" -}}
{{- $database := default (default dict (get .Values.defaultClass "database")) .Values.audit.database -}}
{{- $ports := list (regexFind "[0-9]+$" $database.address | int) -}}
{{- with .Values.vault.address -}}
  {{- $port := regexFind ":[0-9]+$" (trimSuffix "/" .) | trimPrefix ":" -}}
  {{- $ports = append $ports (default 443 $port | int) -}}
{{- end -}}
{{- range .Values.audit.egressPorts }}{{ $ports = append $ports (int .) }}{{ end -}}
{{- toYaml (uniq $ports) -}}
{{- end }}
