{{- define "gatewarden.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "gatewarden.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "gatewarden.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "gatewarden.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "gatewarden.selector" -}}
app.kubernetes.io/name: {{ include "gatewarden.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "gatewarden.labels" -}}
{{ include "gatewarden.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* gatewarden.yaml: what the values say, and what the chart sets. */ -}}
{{- define "gatewarden.config" -}}
{{- $state := dict "dir" "/data" }}
{{- if gt (int .Values.replicas) 1 }}
{{- if not .Values.existingSecret }}
{{- fail "replicas: 3 needs existingSecret: a Secret whose key cluster is a long random text, which makes a guard one of the three" }}
{{- end }}
{{- $peers := dict }}
{{- range $i := until (int .Values.replicas) }}
{{- $pod := printf "%s-%d" (include "gatewarden.fullname" $) $i }}
{{- $_ := set $peers $pod (printf "%s.%s-pods:6222" $pod (include "gatewarden.fullname" $)) }}
{{- end }}
{{- $_ := set $state "cluster" (dict "listen" ":6222" "peers" $peers "secret_file" "/run/secrets/gatewarden/cluster") }}
{{- if eq .Values.probes.scheme "HTTPS" }}
{{- $_ := set $state "api" (printf "https://${POD_NAME}.%s-pods:8080" (include "gatewarden.fullname" .)) }}
{{- end }}
{{- end }}
{{- $chart := dict "listen" (dict "api" ":8080" "ingest" ":8081") "state" $state "rules" (list "/etc/gatewarden/rules") }}
{{- mergeOverwrite (dict) $chart .Values.config | toYaml }}
{{- end }}

{{/* A probe asks as whoever asks the API: with its scheme, and with what authentication wants. */}}
{{- define "gatewarden.probe" -}}
{{- $root := index . 0 -}}
path: {{ index . 1 }}
port: api
scheme: {{ $root.Values.probes.scheme }}
{{- with $root.Values.probes.httpHeaders }}
httpHeaders: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
