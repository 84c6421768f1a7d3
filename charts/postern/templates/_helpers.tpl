{{/*
Names are fixed, not derived from the release's name. A cluster can have only one Postern, because two would write the same policies and
pods. Helm refuses a second release, because the cluster-scoped objects belong to the first.
*/}}

{{/*
The labels of an object: call it with (dict "root" $ "component" NAME), and optionally "extra" LABELS. The chart's own labels win over
extra, and extra over commonLabels, because a key that occurs twice is not valid YAML.
*/}}
{{- define "postern.labels" -}}
{{- $own := include "postern.selector" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/version" .root.Chart.AppVersion -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "postern" -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_") -}}
{{- toYaml (merge $own (default dict .extra) (default dict .root.Values.commonLabels)) -}}
{{- end }}

{{/* The labels that select pods of one component: call it with (dict "root" $ "component" NAME). */}}
{{- define "postern.selector" -}}
app.kubernetes.io/name: postern
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/*
The reference of an image: call it with (dict "root" $ "image" VALUES). global.imageRegistry replaces the registry of the repository: its
first segment is a registry if it contains a dot or a colon, or is localhost.
*/}}
{{- define "postern.image" -}}
{{- $image := .image -}}
{{- $repository := $image.repository -}}
{{- with default dict .root.Values.global -}}
{{- with .imageRegistry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) (regexReplaceAll "^([^/]*[.:][^/]*|localhost)/" $image.repository "") -}}
{{- end -}}
{{- end -}}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ $image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* The security contexts of the chart's containers and pods. A field that is null is left out, also if Helm keeps the null. */}}
{{- define "postern.containerSecurity" -}}
{{- include "postern.withoutNull" .Values.containerSecurityContext -}}
{{- end }}

{{- define "postern.podSecurity" -}}
{{- include "postern.withoutNull" .Values.podSecurityContext -}}
{{- end }}

{{- define "postern.withoutNull" -}}
{{- $out := dict -}}
{{- range $key, $value := default dict . -}}
{{- if not (kindIs "invalid" $value) }}{{ $_ := set $out $key $value }}{{ end -}}
{{- end -}}
{{- toYaml $out -}}
{{- end }}

{{/* The pull secrets of global and of the chart. Parent charts write those of global as names or as objects. */}}
{{- define "postern.pullSecrets" -}}
{{- $names := list -}}
{{- range concat (default list (get (default dict .Values.global) "imagePullSecrets")) (default list .Values.imagePullSecrets) -}}
{{- if kindIs "string" . }}{{ $names = append $names . }}{{ else }}{{ $names = append $names .name }}{{ end -}}
{{- end -}}
{{- with uniq $names }}
imagePullSecrets:
{{- range . }}
- name: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* The names of the service accounts of the operator, and of the Job that applies the class. */}}
{{- define "postern.serviceAccountName" -}}
{{- default "postern-operator" .Values.serviceAccount.name -}}
{{- end }}

{{- define "postern.setupAccountName" -}}
{{- default "postern-setup" .Values.setup.serviceAccount.name -}}
{{- end }}

{{/* The IP families of a Service, or nothing, with which the cluster chooses. */}}
{{- define "postern.ipFamilies" -}}
{{- with .Values.service.ipFamilyPolicy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- with .Values.service.ipFamilies }}
ipFamilies: {{- toYaml . | nindent 0 }}
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
{{- range $key, $_ := .Values.commonLabels -}}
  {{- if regexMatch "^(app\\.kubernetes\\.io/(name|instance|component|version|part-of|managed-by)$|helm\\.sh/chart$|postern\\.dev/|rbac\\.authorization\\.k8s\\.io/)" $key -}}
    {{- fail (printf "commonLabels: %s has a meaning for the chart or the cluster: choose another label" $key) -}}
  {{- end -}}
{{- end -}}
{{- if hasKey (default dict (get (default dict .Values.webhook.namespaceSelector) "matchLabels")) "postern.dev/injection" -}}
  {{- fail "webhook.namespaceSelector: postern.dev/injection: enabled is always required: name other labels" -}}
{{- end -}}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) -}}
  {{- fail "serviceAccount.create=false needs serviceAccount.name: the operator's rights must not go to the account that all pods of the namespace have" -}}
{{- end -}}
{{- if and .Values.defaultClass.create (not .Values.setup.serviceAccount.create) (not .Values.setup.serviceAccount.name) -}}
  {{- fail "setup.serviceAccount.create=false needs setup.serviceAccount.name, or set defaultClass.create=false and apply a SidecarClass yourself" -}}
{{- end -}}
{{- if and (eq .Values.service.ipFamilyPolicy "SingleStack") (gt (len .Values.service.ipFamilies) 1) -}}
  {{- fail "service.ipFamilyPolicy SingleStack allows one of service.ipFamilies: remove one, or set PreferDualStack" -}}
{{- end -}}
{{- end }}

{{/* The namespaces that the webhook ignores, as a YAML list. The release's namespace is always one of them. */}}
{{- define "postern.excludedNamespaces" -}}
{{- append (default (list "kube-system" "kube-node-lease" "kube-public") .Values.webhook.excludedNamespaces) .Release.Namespace | uniq | toYaml -}}
{{- end }}

{{/*
The namespaces whose pods the webhook sees: labelled, not excluded, and matched by webhook.namespaceSelector. The value can only
narrow the selector, because the operator judges a namespace by its label.
*/}}
{{- define "postern.injectedNamespaces" -}}
{{- $value := default dict .Values.webhook.namespaceSelector -}}
matchLabels:
  postern.dev/injection: enabled
  {{- with $value.matchLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
matchExpressions:
- key: kubernetes.io/metadata.name
  operator: NotIn
  values: {{- include "postern.excludedNamespaces" . | nindent 2 }}
{{- with $value.matchExpressions }}
{{ toYaml . }}
{{- end }}
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
