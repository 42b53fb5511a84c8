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
{{- $state := .Values.config.state | default (dict "dir" "/data") }}
{{- if and (gt (int .Values.replicas) 1) (not $state.cluster) }}
{{- fail "replicas: 3 needs config.state.cluster: without it each guard would judge and act on its own. Set it, or replicas: 1" }}
{{- end }}
{{- $chart := dict "listen" (dict "api" ":8080" "ingest" ":8081") "state" $state "rules" (list "/etc/gatewarden/rules") }}
{{- merge (dict) .Values.config $chart | toYaml }}
{{- end }}
