{{- define "tidewatch.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "tidewatch.labels" -}}
app.kubernetes.io/name: tidewatch
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "tidewatch.environment" -}}
- {name: TIDEWATCH_BOOTSTRAP, value: {{ .Values.kafka.bootstrap | quote }}}
- {name: TIDEWATCH_METRICS_HOST, value: "0.0.0.0"}
- {name: TIDEWATCH_METRICS_PORT, value: "9100"}
{{- end }}

{{- define "tidewatch.container" -}}
image: {{ include "tidewatch.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  {{- include "tidewatch.environment" . | nindent 2 }}
{{- with .Values.kafka.credentialsSecret }}
envFrom:
  - secretRef: {name: {{ . }}}
{{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  - {name: home, mountPath: /var/lib/tidewatch}
{{- end }}

{{- define "tidewatch.pod" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  seccompProfile: {type: RuntimeDefault}
volumes:
  - {name: tmp, emptyDir: {}}
  - {name: home, emptyDir: {}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}
