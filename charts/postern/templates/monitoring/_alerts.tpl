{{/*
postern.alerts is the spec of a PrometheusRule from a file of alerts, each with its runbook. Arguments: root, file.
*/}}
{{- define "postern.alerts" -}}
{{- $values := .root.Values.metrics.prometheusRule }}
{{- $spec := .root.Files.Get .file | fromYaml }}
{{- range $spec.groups }}
{{- range .rules }}
{{- $_ := set .annotations "runbook_url" (printf "%s#%s" $values.runbooks (lower .alert)) }}
{{- if $values.holdFor }}
{{- $_ := set . "for" $values.holdFor }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml $spec }}
{{- end }}
