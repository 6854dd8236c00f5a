{{- define "cpnp.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "cpnp.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "cpnp.operator" -}}
{{ include "cpnp.selector" . }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "cpnp.labels" -}}
{{ include "cpnp.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "cpnp.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "cpnp.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed where serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "cpnp.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What the level restricted of Pod Security asks of a pod and of a container. */}}
{{- define "cpnp.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "cpnp.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Where the CNI is broken, nodes are not ready: this is where the operator must run, and
the job that removes its policies. Empty without tolerations. */}}
{{- define "cpnp.tolerations" -}}
{{- $tolerations := .Values.tolerations -}}
{{- if .Values.hostNetwork -}}
{{- $tolerations = concat $tolerations (list
  (dict "key" "node.kubernetes.io/not-ready" "operator" "Exists")
  (dict "key" "node.kubernetes.io/network-unavailable" "operator" "Exists")) -}}
{{- end -}}
{{- with $tolerations -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* A part of the hook before helm uninstall, in the order of its weight. */}}
{{- define "cpnp.uninstallHook" -}}
helm.sh/hook: pre-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{/* Argo CD creates the operator before policies, and deletes it after them. */}}
{{- define "cpnp.operatorWave" -}}
argocd.argoproj.io/sync-wave: "-1"
{{- end -}}
