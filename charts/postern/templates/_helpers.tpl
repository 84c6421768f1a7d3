{{/*
Names are fixed, not derived from the release's: there is one Postern in a cluster, as two would fight over policies and
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

{{/* An image's reference: call it with (dict "root" $ "image" VALUES). */}}
{{- define "postern.image" -}}
{{- $image := .image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* What Pod Security "restricted" asks of a container, and a read-only root on top. */}}
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

{{/* Refuses values that contradict each other in ways a schema cannot say. */}}
{{- define "postern.validate" -}}
{{- $redis := .Values.redis -}}
{{- $ways := list -}}
{{- if $redis.url }}{{ $ways = append $ways "redis.url" }}{{ end -}}
{{- if $redis.addresses }}{{ $ways = append $ways "redis.addresses" }}{{ end -}}
{{- if $redis.bundled.enabled }}{{ $ways = append $ways "redis.bundled.enabled" }}{{ end -}}
{{- if gt (len $ways) 1 }}{{ fail (printf "%s are different ways to say where Redis is: choose one" (join " and " $ways)) }}{{ end -}}
{{- if and $redis.bundled.enabled (or $redis.passwordSecret.name $redis.passwordRef $redis.sentinelPasswordSecret.name $redis.sentinelPasswordRef $redis.tls.enabled $redis.tls.certificateRef $redis.tls.keyRef) -}}
  {{- fail "redis.bundled has a password of its own and no TLS: leave redis.passwordSecret, passwordRef, their Sentinel's, and redis.tls alone" -}}
{{- end -}}
{{- if and $redis.addresses (ne (eq $redis.mode "Sentinel") (ne $redis.masterName "")) }}{{ fail "redis.masterName goes with redis.mode Sentinel, and is needed there" }}{{ end -}}
{{- if and $redis.addresses (eq $redis.mode "Standalone") (gt (len $redis.addresses) 1) }}{{ fail "redis.mode Standalone has one address: for several, say Sentinel or Cluster" }}{{ end -}}
{{- end }}

{{/* Namespaces that the webhook never looks at, as a YAML list: the release's own among them always. */}}
{{- define "postern.excludedNamespaces" -}}
{{- append (default (list "kube-system" "kube-node-lease" "kube-public") .Values.webhook.excludedNamespaces) .Release.Namespace | uniq | toYaml -}}
{{- end }}

{{/* Refuses a namespace for `helm test` that is somebody's already: it is deleted with what is in it, before and after. */}}
{{- define "postern.validateTest" -}}
{{- $name := .Values.test.namespace -}}
{{- if has $name (append (include "postern.excludedNamespaces" . | fromYamlArray) "default") -}}
  {{- fail (printf "test.namespace: %s is not for tests, which delete their namespace: name one that does not exist" $name) -}}
{{- end -}}
{{- $there := lookup "v1" "Namespace" "" $name -}}
{{- if and $there (or (ne "postern" (dig "metadata" "labels" "app.kubernetes.io/name" "" $there)) (ne "test" (dig "metadata" "labels" "app.kubernetes.io/component" "" $there))) -}}
  {{- fail (printf "test.namespace: %s exists, and helm test would delete it with all that is in it: name one that does not exist" $name) -}}
{{- end -}}
{{- end }}

{{/* Annotations of what exists only while the class is applied; the argument is the order. */}}
{{- define "postern.setupHook" -}}
helm.sh/hook: post-install,post-upgrade,post-rollback
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{/* Annotations of what `helm test` makes; the argument is the order. */}}
{{- define "postern.testHook" -}}
helm.sh/hook: test
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
