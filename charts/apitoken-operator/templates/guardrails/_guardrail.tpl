{{/*
A policy, and a binding of it for each entry of guardrails.bindings that makes its demand. Takes the root; the policy's name,
of which apitoken-operator.guardrails.<policy> says what it checks; the key of the demand; whether the demand is read from the
binding's ConfigMap (parameter); and what is checked beside changes of the spec (or).
*/}}
{{- define "apitoken-operator.guardrail" -}}
{{- $root := .root }}
{{- $fullname := include "apitoken-operator.fullname" $root }}
{{- if include "apitoken-operator.guardrails" $root }}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ $fullname }}-guardrail-{{ .policy }}
  labels:
    {{- include "apitoken-operator.labels" $root | nindent 4 }}
spec:
  failurePolicy: Fail
  {{- if .parameter }}
  paramKind:
    apiVersion: v1
    kind: ConfigMap
  {{- end }}
  matchConstraints:
    resourceRules:
      - apiGroups: [apitoken.dev]
        apiVersions: [v1alpha1]
        resources: [apitokens]
        operations: [CREATE, UPDATE]
  matchConditions:
    # Not what leaves the spec as it is, such as the operator's finalizers, and not what only suspends or revokes: a token can
    # always be ended.
    - name: asks-for-something
      expression: >-
        request.operation == 'CREATE' ||
        dyn(object.spec).transformMap(field, value, field != 'state', value) !=
        dyn(oldObject.spec).transformMap(field, value, field != 'state', value) ||
        (object.spec.state == 'Active' && oldObject.spec.state != 'Active')
        {{- with .or }} || {{ . }}{{ end }}
  {{- include (printf "apitoken-operator.guardrails.%s" .policy) $root | nindent 2 }}
{{- range $binding := $root.Values.guardrails.bindings }}
{{- if get $binding $.demand }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ $fullname }}-guardrail-{{ $.policy }}-{{ $binding.name }}
  labels:
    {{- include "apitoken-operator.labels" $root | nindent 4 }}
spec:
  policyName: {{ $fullname }}-guardrail-{{ $.policy }}
  validationActions: {{ $binding.validationActions | default (list "Deny") | toJson }}
  {{- if $.parameter }}
  paramRef:
    name: {{ $fullname }}-guardrails-{{ $binding.name }}
    namespace: {{ $root.Release.Namespace }}
    # Denied would also be what the operator itself writes.
    parameterNotFoundAction: Allow
  {{- end }}
  {{- with $binding.namespaceSelector }}
  matchResources:
    namespaceSelector:
      {{- toYaml . | nindent 6 }}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Whether there are guardrails: policies are for the whole cluster. */}}
{{- define "apitoken-operator.guardrails" -}}
{{- if and .Values.guardrails.enabled (not .Values.singleNamespace) }}yes{{ end }}
{{- end }}
