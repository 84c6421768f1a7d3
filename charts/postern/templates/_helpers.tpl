{{/*
Names are fixed, not derived from the release's name. A cluster can have only one Postern, because two would write the same policies and
pods. Helm refuses a second release, because the cluster-scoped objects belong to the first.
*/}}

{{- define "postern.labels" -}}
{{ include "postern.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: postern
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The labels that select pods of one component: call it with (dict "root" $ "component" NAME). */}}
{{- define "postern.selector" -}}
app.kubernetes.io/name: postern
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* The reference of an image: call it with (dict "root" $ "image" VALUES). */}}
{{- define "postern.image" -}}
{{- $image := .image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* The security context that Pod Security "restricted" requires of a container, with a read-only root filesystem. */}}
{{- define "postern.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "postern.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "postern.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 0 }}
{{- end }}
{{- end }}

{{/* Rejects values that contradict each other in ways that a schema cannot express. */}}
{{- define "postern.validate" -}}
{{- $redis := .Values.redis -}}
{{- $ways := list -}}
{{- if $redis.url }}{{ $ways = append $ways "redis.url" }}{{ end -}}
{{- if $redis.addresses }}{{ $ways = append $ways "redis.addresses" }}{{ end -}}
{{- if $redis.bundled.enabled }}{{ $ways = append $ways "redis.bundled.enabled" }}{{ end -}}
{{- if gt (len $ways) 1 }}{{ fail (printf "%s are different ways to configure Redis: choose one" (join " and " $ways)) }}{{ end -}}
{{- if and $redis.bundled.enabled (or $redis.passwordSecret.name $redis.passwordRef $redis.sentinelPasswordSecret.name $redis.sentinelPasswordRef $redis.tls.enabled $redis.tls.certificateRef $redis.tls.keyRef) -}}
  {{- fail "redis.bundled has its own password and no TLS: do not set redis.passwordSecret, passwordRef, those of the Sentinels, or redis.tls with it" -}}
{{- end -}}
{{- if and $redis.addresses (ne (eq $redis.mode "Sentinel") (ne $redis.masterName "")) }}{{ fail "redis.masterName is required for redis.mode Sentinel, and allowed only there" }}{{ end -}}
{{- if and $redis.addresses (eq $redis.mode "Standalone") (gt (len $redis.addresses) 1) }}{{ fail "redis.mode Standalone allows one address: for several addresses set Sentinel or Cluster" }}{{ end -}}
{{- end }}

{{/* The namespaces that the webhook ignores, as a YAML list. The release's namespace is always one of them. */}}
{{- define "postern.excludedNamespaces" -}}
{{- append (default (list "kube-system" "kube-node-lease" "kube-public") .Values.webhook.excludedNamespaces) .Release.Namespace | uniq | toYaml -}}
{{- end }}

{{/* Selects the namespaces whose pods the webhook sees. */}}
{{- define "postern.injectedNamespaces" -}}
matchLabels:
  postern.dev/injection: enabled
matchExpressions:
- key: kubernetes.io/metadata.name
  operator: NotIn
  values: {{- include "postern.excludedNamespaces" . | nindent 2 }}
{{- end }}

{{/* Rejects a namespace for `helm test` that is already in use, because the test deletes the namespace before and after. */}}
{{- define "postern.validateTest" -}}
{{- $name := .Values.test.namespace -}}
{{- if has $name (append (include "postern.excludedNamespaces" . | fromYamlArray) "default") -}}
  {{- fail (printf "test.namespace: %s cannot be used, because helm test deletes its namespace: set a namespace that does not exist" $name) -}}
{{- end -}}
{{- $there := lookup "v1" "Namespace" "" $name -}}
{{- if and $there (or (ne "postern" (dig "metadata" "labels" "app.kubernetes.io/name" "" $there)) (ne "test" (dig "metadata" "labels" "app.kubernetes.io/component" "" $there))) -}}
  {{- fail (printf "test.namespace: %s exists, and helm test would delete it with its contents: set a namespace that does not exist" $name) -}}
{{- end -}}
{{- end }}

{{/* Annotations of objects that exist only while the class is applied. The argument is the order. */}}
{{- define "postern.setupHook" -}}
helm.sh/hook: post-install,post-upgrade,post-rollback
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{/* Annotations of objects that `helm test` creates. The argument is the order. */}}
{{- define "postern.testHook" -}}
helm.sh/hook: test
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
