{{/*
The redis section of the SidecarClass, as YAML. It is empty without a Redis. Call it with the root.
*/}}
{{- define "postern.redis" -}}
{{- $redis := .Values.redis -}}
{{- $spec := dict -}}
{{- if $redis.bundled.enabled -}}
  {{- $spec = dict "mode" "Standalone"
      "addresses" (list (printf "postern-redis.%s.svc:6379" .Release.Namespace))
      "passwordRef" (dict "secretKeyRef" (dict "name" "postern-redis" "key" "password")) -}}
{{- else if $redis.url -}}
  {{- $spec = include "postern.redisURL" . | fromYaml -}}
{{- else if $redis.addresses -}}
  {{- $spec = dict "mode" $redis.mode "addresses" $redis.addresses -}}
  {{- if $redis.masterName }}{{ $_ := set $spec "masterName" $redis.masterName }}{{ end -}}
  {{- if $redis.database }}{{ $_ := set $spec "database" (int $redis.database) }}{{ end -}}
  {{- if $redis.username }}{{ $_ := set $spec "username" $redis.username }}{{ end -}}
{{- end -}}
{{- if $spec -}}
  {{- if not $redis.bundled.enabled -}}
    {{- include "postern.redisSecrets" (dict "root" . "redis" $redis "spec" $spec) -}}
    {{- include "postern.redisTLS" (dict "root" . "redis" $redis "spec" $spec) -}}
  {{- end -}}
  {{- if $redis.timeout }}{{ $_ := set $spec "timeout" $redis.timeout }}{{ end -}}
  {{- toYaml $spec -}}
{{- end -}}
{{- end }}

{{/* Parses redis://[username@]host[:port][/database], or rediss:// for TLS, into the fields of a SidecarClass. */}}
{{- define "postern.redisURL" -}}
{{- $redis := .Values.redis -}}
{{- $url := urlParse $redis.url -}}
{{- if not (has $url.scheme (list "redis" "rediss")) -}}
  {{- fail "redis.url: must be redis://host:port/database, or rediss:// for TLS" -}}
{{- end -}}
{{- if contains ":" $url.userinfo -}}
  {{- fail "redis.url: must not contain a password, because values are not secret: put the password into a Secret, and name the Secret in redis.passwordSecret" -}}
{{- end -}}
{{- if or $url.query $url.fragment }}{{ fail "redis.url: must have neither a query nor a fragment: options are separate values" }}{{ end -}}
{{- if or $redis.username $redis.database $redis.masterName (ne $redis.mode "Standalone") -}}
  {{- fail "redis.url contains the server, user and database: do not set redis.mode, username, database and masterName with it, or use redis.addresses" -}}
{{- end -}}
{{- if not (regexMatch "^([A-Za-z0-9._-]+|\\[[0-9a-fA-F:.]+\\])(:[0-9]{1,5})?$" $url.host) }}{{ fail "redis.url: has no host" }}{{ end -}}
{{- $address := $url.host -}}
{{- if not (regexMatch ":[0-9]+$" (regexReplaceAll "^\\[.*\\]" $url.host "")) }}{{ $address = printf "%s:6379" $url.host }}{{ end -}}
{{- $spec := dict "mode" "Standalone" "addresses" (list $address) -}}
{{- $database := trimPrefix "/" $url.path -}}
{{- if $database -}}
  {{- if not (regexMatch "^[0-9]{1,5}$" $database) }}{{ fail "redis.url: the path must be the database's number, as in redis://host:6379/2" }}{{ end -}}
  {{- if ne "0" $database }}{{ $_ := set $spec "database" (atoi $database) }}{{ end -}}
{{- end -}}
{{- if $url.userinfo }}{{ $_ := set $spec "username" $url.userinfo }}{{ end -}}
{{- if eq $url.scheme "rediss" }}{{ $_ := set $spec "tls" dict }}{{ end -}}
{{- toYaml $spec -}}
{{- end }}

{{- define "postern.redisSecrets" -}}
{{- $redis := .redis -}}
{{- $password := include "postern.secretRef" (dict "root" .root "name" "redis.passwordRef" "ref" $redis.passwordRef "short" $redis.passwordSecret) -}}
{{- with $password }}{{ $_ := set $.spec "passwordRef" (fromYaml .) }}{{ end -}}
{{- $sentinel := include "postern.secretRef" (dict "root" .root "name" "redis.sentinelPasswordRef" "ref" $redis.sentinelPasswordRef "short" $redis.sentinelPasswordSecret) -}}
{{- if and $sentinel (ne .spec.mode "Sentinel") }}{{ fail "redis.sentinelPasswordRef and sentinelPasswordSecret need redis.mode Sentinel" }}{{ end -}}
{{- with $sentinel }}{{ $_ := set $.spec "sentinelPasswordRef" (fromYaml .) }}{{ end -}}
{{- end }}

{{- define "postern.redisTLS" -}}
{{- $tls := .redis.tls -}}
{{- $wanted := or $tls.enabled (hasKey .spec "tls") -}}
{{- if and (or $tls.serverName $tls.caBundle $tls.certificateRef $tls.keyRef) (not $wanted) -}}
  {{- fail "redis.tls.serverName, caBundle, certificateRef and keyRef need TLS: set redis.tls.enabled, or use rediss:// in redis.url" -}}
{{- end -}}
{{- if ne (empty $tls.certificateRef) (empty $tls.keyRef) }}{{ fail "redis.tls.certificateRef and keyRef must both be set, or neither" }}{{ end -}}
{{- if $wanted -}}
  {{- $out := dict -}}
  {{- if $tls.serverName }}{{ $_ := set $out "serverName" $tls.serverName }}{{ end -}}
  {{- if $tls.caBundle }}{{ $_ := set $out "caBundle" $tls.caBundle }}{{ end -}}
  {{- range $name := list "certificateRef" "keyRef" -}}
    {{- with include "postern.secretRef" (dict "root" $.root "name" (printf "redis.tls.%s" $name) "ref" (get $tls $name)) }}{{ $_ := set $out $name (fromYaml .) }}{{ end -}}
  {{- end -}}
  {{- $_ := set .spec "tls" $out -}}
{{- end -}}
{{- end }}
