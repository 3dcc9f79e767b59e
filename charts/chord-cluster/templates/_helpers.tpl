{{- define "chord-cluster.name" -}}
{{- $name := default .Release.Name .Values.name -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$" $name) -}}
{{- fail (printf "the cluster's name, %q, must start with a letter, have only lower-case letters, digits and '-', and at most 40 characters: set `name`" $name) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{- define "chord-cluster.labels" -}}
app.kubernetes.io/name: chord-cluster
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: cluster
app.kubernetes.io/part-of: chord
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Selects the nodes' pods. */}}
{{- define "chord-cluster.nodes" -}}
app.kubernetes.io/name: chord
app.kubernetes.io/instance: {{ include "chord-cluster.name" . }}
app.kubernetes.io/component: node
{{- end -}}

{{/* A reference from a repository and a tag or digest. */}}
{{- define "chord-cluster.reference" -}}
{{- $tag := default .default .image.tag -}}
{{- if hasPrefix "sha256:" $tag -}}
{{ .image.repository }}@{{ $tag }}
{{- else -}}
{{ .image.repository }}:{{ $tag }}
{{- end -}}
{{- end -}}
