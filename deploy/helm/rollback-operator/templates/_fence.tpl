{{/* Policies by which the operator's own account changes no more than it has to. */}}

{{/* As whom the operator is known to the API server. */}}
{{- define "rollback-operator.account" -}}
{{- printf "system:serviceaccount:%s:%s" .Release.Namespace (include "rollback-operator.serviceAccountName" .) -}}
{{- end -}}

{{/* Refuse an installation that would silently do without its admission policies. */}}
{{- define "rollback-operator.admissible" -}}
{{- $lost := "Without them nothing but RBAC stands between the author of a policy and the operator's rights: whoever may write a RollbackPolicy or a Rollback has it patch every Deployment and read every listed Secret of the namespace, whoever may write its status is believed, approvals do not count, and safety.onQuarantined Refuse refuses nothing" -}}
{{- if .Values.admission.create -}}
{{- if .Values.watchNamespaces -}}
{{- fail (printf "admission.create: ValidatingAdmissionPolicies are the whole cluster's, and watchNamespaces asks for nothing of the cluster. Set admission.create=false with it, or leave watchNamespaces empty. %s" $lost) -}}
{{- end -}}
{{- $served := .Capabilities.APIVersions -}}
{{- /* Only a cluster that was asked tells of kinds; apps/v1 Deployment is served by every one. */ -}}
{{- if and ($served.Has "apps/v1/Deployment") (not ($served.Has "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy")) -}}
{{- fail (printf "admission.create: this cluster serves no ValidatingAdmissionPolicy of admissionregistration.k8s.io/v1 (Kubernetes 1.30). Enable it, or set admission.create=false. %s" $lost) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* CEL: two maps are the same but for these keys. The maps are taken as untyped ones: a field that a
     later Kubernetes brings is fenced too. */}}
{{- define "rollback-operator.sameBut" -}}
{{- $keys := toJson .keys | replace "\"" "'" -}}
dyn({{ .new }}).all(key, key in {{ $keys }} || (key in dyn({{ .old }}) && dyn({{ .new }})[key] == dyn({{ .old }})[key]))
&& dyn({{ .old }}).all(key, key in {{ $keys }} || key in dyn({{ .new }}))
{{- end -}}

{{/* CEL: those of the entries of a map, or of a list, that are not the operator's own are the same. */}}
{{- define "rollback-operator.sameEntries" -}}
{{- $new := printf "(has(object.%s) ? dyn(object.%s) : dyn({}))" .path .path -}}
{{- $old := printf "(has(oldObject.%s) ? dyn(oldObject.%s) : dyn({}))" .path .path -}}
{{ $new }}.all(key, key.startsWith('{{ .own }}/') || (key in {{ $old }} && {{ $new }}[key] == {{ $old }}[key]))
&& {{ $old }}.all(key, key.startsWith('{{ .own }}/') || key in {{ $new }})
{{- end -}}

{{- define "rollback-operator.fence" -}}
{{- $labels := include "rollback-operator.labels" .root }}
{{- $group := "rollback.tickettoken.io" }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ .name }}
  labels:
    {{- $labels | nindent 4 }}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
    - apiGroups: {{ toJson .groups }}
      apiVersions: ["*"]
      operations: {{ toJson .operations }}
      resources: {{ toJson .resources }}
  matchConditions:
  - name: by-the-operator
    expression: "request.userInfo.username == '{{ include "rollback-operator.account" .root }}'"
  validations:
  {{- if eq (first .operations) "UPDATE" }}
  {{- $changed := list "managedFields" "generation" "resourceVersion" }}
  {{- if .annotations }}{{ $changed = append $changed "annotations" }}{{ end }}
  {{- if .finalizers }}{{ $changed = append $changed "finalizers" }}{{ end }}
  {{- if hasSuffix "/*" (last .resources) }}
  - expression: "!has(request.subResource) || request.subResource == ''"
    message: "the operator changes no subresource of this kind"
    reason: Forbidden
  {{- end }}
  - expression: >-
      {{- include "rollback-operator.sameBut" (dict "new" "object.metadata" "old" "oldObject.metadata" "keys" $changed) | nindent 6 }}
    message: "metadata: the operator changes nothing of it but {{ if .annotations }}annotations{{ else if .finalizers }}finalizers{{ else }}what the API server keeps{{ end }}"
    reason: Forbidden
  {{- if .annotations }}
  - expression: >-
      {{- include "rollback-operator.sameEntries" (dict "path" "metadata.annotations" "own" $group) | nindent 6 }}
    message: "metadata.annotations: the operator changes only its own, those of {{ $group }}"
    reason: Forbidden
  {{- end }}
  {{- if .finalizers }}
  - expression: >-
      (has(object.metadata.finalizers) ? object.metadata.finalizers : []).all(one, one.startsWith('{{ $group }}/')
      || one in (has(oldObject.metadata.finalizers) ? oldObject.metadata.finalizers : []))
      && (has(oldObject.metadata.finalizers) ? oldObject.metadata.finalizers : []).all(one, one.startsWith('{{ $group }}/')
      || one in (has(object.metadata.finalizers) ? object.metadata.finalizers : []))
    message: "metadata.finalizers: the operator changes only its own, those of {{ $group }}"
    reason: Forbidden
  {{- end }}
  {{- end }}
  {{- .validations | nindent 2 }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ .name }}
  labels:
    {{- $labels | nindent 4 }}
spec:
  policyName: {{ .name }}
  validationActions: [Deny]
{{ end -}}

{{/* An undo puts an earlier template in place of the running one, and no policy can see which
     earlier ones there were. What would give pods more than they have is fenced by itself. */}}
{{- define "rollback-operator.fenceOfDeployments" -}}
- expression: "!(request.namespace in {{ append .Values.admission.closedNamespaces .Release.Namespace | toJson | replace "\"" "'" }})"
  message: "the operator changes no Deployment of this namespace: see admission.closedNamespaces of its chart"
  reason: Forbidden
- expression: >-
    {{- include "rollback-operator.sameBut" (dict "new" "object.spec" "old" "oldObject.spec" "keys" (list "template" "paused" "replicas" "strategy")) | nindent 4 }}
  message: "spec: the operator changes only template, paused, replicas and strategy.rollingUpdate"
  reason: Forbidden
- expression: "object.spec.strategy.type == oldObject.spec.strategy.type"
  message: "spec.strategy.type: the operator does not change it"
  reason: Forbidden
- expression: "object.spec.replicas == oldObject.spec.replicas || object.spec.replicas > 0"
  message: "spec.replicas: the operator does not scale to none"
  reason: Forbidden
{{- range list "hostNetwork" "hostPID" "hostIPC" }}
- expression: >-
    !has(object.spec.template.spec.{{ . }}) || !object.spec.template.spec.{{ . }}
    || (has(oldObject.spec.template.spec.{{ . }}) && oldObject.spec.template.spec.{{ . }})
  message: "spec.template.spec.{{ . }}: the operator gives no pods what the running ones do not have: go back by hand"
  reason: Forbidden
{{- end }}
- expression: >-
    !has(object.spec.template.spec.volumes) || object.spec.template.spec.volumes.all(one, !has(one.hostPath)
    || (has(oldObject.spec.template.spec.volumes) && oldObject.spec.template.spec.volumes.exists(known,
    has(known.hostPath) && known.hostPath.path == one.hostPath.path)))
  message: "spec.template.spec.volumes: the operator gives no pods a hostPath that the running ones do not have: go back by hand"
  reason: Forbidden
{{- range list "containers" "initContainers" }}
- expression: >-
    !has(object.spec.template.spec.{{ . }}) || object.spec.template.spec.{{ . }}.all(one,
    !has(one.securityContext) || !has(one.securityContext.privileged) || !one.securityContext.privileged
    || (has(oldObject.spec.template.spec.{{ . }}) && oldObject.spec.template.spec.{{ . }}.exists(known, known.name == one.name
    && has(known.securityContext) && has(known.securityContext.privileged) && known.securityContext.privileged)))
  message: "spec.template.spec.{{ . }}: the operator makes no container privileged that does not run so: go back by hand"
  reason: Forbidden
{{- end }}
{{- /* One expression each: the API server bounds what one may cost, and a question of rights is dear. */}}
{{- range list (list "" "secrets" "list") (list "" "pods" "create") (list "rbac.authorization.k8s.io" "clusterrolebindings" "create") }}
- expression: >-
    !has(object.spec.template.spec.serviceAccountName) || object.spec.template.spec.serviceAccountName == ''
    || (has(oldObject.spec.template.spec.serviceAccountName)
    && oldObject.spec.template.spec.serviceAccountName == object.spec.template.spec.serviceAccountName)
    || !authorizer.serviceAccount(request.namespace, object.spec.template.spec.serviceAccountName)
    .group('{{ index . 0 }}').resource('{{ index . 1 }}').check('{{ index . 2 }}').allowed()
  message: >-
    spec.template.spec.serviceAccountName: the operator gives pods no account that may {{ index . 2 }} {{ index . 1 }}
    of the whole cluster where the running ones have another: go back by hand
  reason: Forbidden
{{- end }}
{{- end -}}

{{- define "rollback-operator.fenceOfPolicies" -}}
- expression: "object.spec == oldObject.spec"
  message: "spec: a policy is its author's, the operator does not change it"
  reason: Forbidden
{{- end -}}

{{- define "rollback-operator.fenceOfRollbacks" -}}
- expression: "object.spec == oldObject.spec"
  message: "spec: the operator changes no stored intent, and approves none"
  reason: Forbidden
{{- end -}}

{{- define "rollback-operator.fenceOfRecords" -}}
- expression: "request.operation != 'CREATE' || (has(object.spec.fromRevision) && !has(object.spec.approval))"
  message: "spec: the operator makes Rollbacks that carry their plan, and approves none"
  reason: Forbidden
- expression: "request.operation != 'DELETE' || (has(oldObject.status) && has(oldObject.status.outcome))"
  message: "the operator deletes no Rollback that has not ended"
  reason: Forbidden
{{- end -}}

{{- define "rollback-operator.fenceOfConfigMaps" -}}
- expression: >-
    {{- include "rollback-operator.sameBut" (dict "new" "object" "old" "oldObject" "keys" (list "metadata" "data")) | nindent 4 }}
  message: "the operator changes nothing of a ConfigMap but data"
  reason: Forbidden
- expression: >-
    has(object.data) && has(oldObject.data) && object.data.all(key, key in oldObject.data)
    && oldObject.data.all(key, key in object.data)
    && object.data.filter(key, object.data[key] != oldObject.data[key]).size() <= 1
  message: "data: the operator sets one key that is there already"
  reason: Forbidden
{{- end -}}

{{- define "rollback-operator.fenceOfAutoscalers" -}}
- expression: >-
    {{- include "rollback-operator.sameBut" (dict "new" "object.spec" "old" "oldObject.spec" "keys" (list "minReplicas" "maxReplicas")) | nindent 4 }}
  message: "spec: the operator changes only minReplicas and maxReplicas"
  reason: Forbidden
{{- end -}}

{{- define "rollback-operator.fenceOfApplications" -}}
{{- $new := "(has(object.spec.syncPolicy) ? dyn(object.spec.syncPolicy) : dyn({}))" -}}
{{- $old := "(has(oldObject.spec.syncPolicy) ? dyn(oldObject.spec.syncPolicy) : dyn({}))" -}}
- expression: >-
    {{- include "rollback-operator.sameBut" (dict "new" "object" "old" "oldObject" "keys" (list "metadata" "spec")) | nindent 4 }}
  message: "the operator changes nothing of an Application but spec.syncPolicy.automated"
  reason: Forbidden
- expression: >-
    {{- include "rollback-operator.sameBut" (dict "new" "object.spec" "old" "oldObject.spec" "keys" (list "syncPolicy")) | nindent 4 }}
  message: "spec: the operator changes only syncPolicy.automated"
  reason: Forbidden
- expression: >-
    {{- include "rollback-operator.sameBut" (dict "new" $new "old" $old "keys" (list "automated")) | nindent 4 }}
  message: "spec.syncPolicy: the operator changes only automated"
  reason: Forbidden
{{- end -}}

{{- define "rollback-operator.fenceOfFlux" -}}
- expression: >-
    {{- include "rollback-operator.sameBut" (dict "new" "object.spec" "old" "oldObject.spec" "keys" (list "suspend")) | nindent 4 }}
  message: "spec: the operator changes only suspend"
  reason: Forbidden
{{- end -}}

{{- define "rollback-operator.fenceOfEvents" -}}
- expression: >-
    object.involvedObject.apiVersion.startsWith('rollback.tickettoken.io/')
    && object.source.component == 'rollback-operator'
  message: "the operator posts Events of policies and Rollbacks, in its own name"
  reason: Forbidden
{{- end -}}
