{{- define "apitoken-operator.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/* Names end in -controller, so what stands before it has 52 of a label's 63 characters. */}}
{{- define "apitoken-operator.fullname" -}}
{{- $name := include "apitoken-operator.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "apitoken-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "apitoken-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "apitoken-operator.labels" -}}
{{ include "apitoken-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "apitoken-operator.controller.name" -}}
{{ include "apitoken-operator.fullname" . }}-controller
{{- end }}

{{- define "apitoken-operator.controller.selectorLabels" -}}
{{ include "apitoken-operator.selectorLabels" . }}
app.kubernetes.io/component: controller
{{- end }}

{{- define "apitoken-operator.controller.labels" -}}
{{ include "apitoken-operator.labels" . }}
app.kubernetes.io/component: controller
{{- end }}

{{- define "apitoken-operator.verifier.name" -}}
{{ include "apitoken-operator.fullname" . }}-verifier
{{- end }}

{{- define "apitoken-operator.verifier.selectorLabels" -}}
{{ include "apitoken-operator.selectorLabels" . }}
app.kubernetes.io/component: verifier
{{- end }}

{{- define "apitoken-operator.verifier.labels" -}}
{{ include "apitoken-operator.labels" . }}
app.kubernetes.io/component: verifier
{{- end }}

{{- define "apitoken-operator.verifier.scheme" -}}
{{ ternary "https" "http" (not (empty .Values.verifier.tls.secretName)) }}
{{- end }}

{{/* The namespaces that have Roles of their own for what is in them; none where ClusterRoles cover all. */}}
{{- define "apitoken-operator.namespaces" -}}
{{- ternary (list .Release.Namespace) .Values.watchNamespaces .Values.singleNamespace | toJson }}
{{- end }}

{{/* The arguments by which a program knows where it works. */}}
{{- define "apitoken-operator.scope" -}}
{{- if .Values.singleNamespace }}
- --single-namespace={{ .Release.Namespace }}
{{- end }}
{{- range .Values.watchNamespaces }}
- --watch-namespace={{ . }}
{{- end }}
{{- end }}

{{- define "apitoken-operator.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- define "apitoken-operator.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "apitoken-operator.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Of a container with a port called admin. */}}
{{- define "apitoken-operator.probes" -}}
startupProbe:
  httpGet:
    path: /livez
    port: admin
  periodSeconds: 1
  failureThreshold: 30
livenessProbe:
  httpGet:
    path: /livez
    port: admin
readinessProbe:
  httpGet:
    path: /readyz
    port: admin
  periodSeconds: 5
{{- end }}

{{/* The port of an address, which may stand for that of its scheme. */}}
{{- define "apitoken-operator.otlpPort" -}}
{{- $address := urlParse . }}
{{- regexFind ":[0-9]+$" $address.host | trimPrefix ":" | default (ternary "443" "80" (eq $address.scheme "https")) }}
{{- end }}

{{/* Where a Pod runs, from the values of its program and the labels that select it. */}}
{{- define "apitoken-operator.scheduling" -}}
{{- range $field := list "priorityClassName" "nodeSelector" "tolerations" "affinity" }}
{{- with index $.values $field }}
{{ $field }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with .values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  {{- $selector := dict "labelSelector" (dict "matchLabels" ($.labels | fromYaml)) }}
  {{- list (merge $selector .) | toYaml | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}
