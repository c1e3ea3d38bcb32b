{{/* Policies that restrict the changes of the operator's own account. */}}

{{/* The user name of the operator at the API server. */}}
{{- define "rollback-operator.account" -}}
{{- printf "system:serviceaccount:%s:%s" .Release.Namespace (include "rollback-operator.serviceAccountName" .) -}}
{{- end -}}

{{/* Refuses an installation that would silently lack its admission policies. */}}
{{- define "rollback-operator.admissible" -}}
{{- $lost := "Without them, everybody who may write a RollbackPolicy or a Rollback can let the operator patch every Deployment and read every listed Secret of the namespace, a status that anybody writes is trusted, approvals do not count, and safety.onQuarantined Refuse has no effect" -}}
{{- if .Values.admission.create -}}
{{- if .Values.watchNamespaces -}}
{{- fail (printf "admission.create: ValidatingAdmissionPolicies apply to the whole cluster and cannot be combined with watchNamespaces. Set admission.create=false, or leave watchNamespaces empty. %s" $lost) -}}
{{- end -}}
{{- $served := .Capabilities.APIVersions -}}
{{- /* Only a live cluster lists its kinds; every cluster serves apps/v1 Deployment. */ -}}
{{- if and ($served.Has "apps/v1/Deployment") (not ($served.Has "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy")) -}}
{{- fail (printf "admission.create: this cluster does not serve ValidatingAdmissionPolicy of admissionregistration.k8s.io/v1 (Kubernetes 1.30). Enable it, or set admission.create=false. %s" $lost) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* CEL: two maps are equal except for these keys. The maps are untyped, so that fields of a later
     Kubernetes are fenced too. */}}
{{- define "rollback-operator.sameBut" -}}
{{- $keys := toJson .keys | replace "\"" "'" -}}
dyn({{ .new }}).all(key, key in {{ $keys }} || (key in dyn({{ .old }}) && dyn({{ .new }})[key] == dyn({{ .old }})[key]))
&& dyn({{ .old }}).all(key, key in {{ $keys }} || key in dyn({{ .new }}))
{{- end -}}

{{/* CEL: the entries of two maps are equal, except the operator's own and these keys. */}}
{{- define "rollback-operator.sameEntries" -}}
{{- $keys := toJson (.keys | default list) | replace "\"" "'" -}}
{{- $new := printf "(has(object.%s) ? dyn(object.%s) : dyn({}))" .path .path -}}
{{- $old := printf "(has(oldObject.%s) ? dyn(oldObject.%s) : dyn({}))" .path .path -}}
{{ $new }}.all(key, key.startsWith('{{ .own }}/') || key in {{ $keys }} || (key in {{ $old }} && {{ $new }}[key] == {{ $old }}[key]))
&& {{ $old }}.all(key, key.startsWith('{{ .own }}/') || key in {{ $keys }} || key in {{ $new }})
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
  {{- if .variables }}
  variables:
  {{- .variables | nindent 2 }}
  {{- end }}
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
    message: "metadata: the operator changes only {{ if .annotations }}annotations{{ else if .finalizers }}finalizers{{ else }}fields that the API server sets{{ end }}"
    reason: Forbidden
  {{- if .annotations }}
  - expression: >-
      {{- include "rollback-operator.sameEntries" (dict "path" "metadata.annotations" "own" $group "keys" .ownAnnotations) | nindent 6 }}
    message: "metadata.annotations: the operator changes only its own, those of {{ $group }}{{ range .ownAnnotations }}, and {{ . }}{{ end }}"
    reason: Forbidden
  {{- end }}
  {{- if .finalizers }}
  - expression: >-
      (has(object.metadata.finalizers) ? object.metadata.finalizers : []).all(item, item.startsWith('{{ $group }}/')
      || item in (has(oldObject.metadata.finalizers) ? oldObject.metadata.finalizers : []))
      && (has(oldObject.metadata.finalizers) ? oldObject.metadata.finalizers : []).all(item, item.startsWith('{{ $group }}/')
      || item in (has(object.metadata.finalizers) ? object.metadata.finalizers : []))
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

{{/* An undo sets an earlier template, and no policy can see the earlier templates. So the fence covers
     fields that give pods new power over nodes or the cluster: the baseline of the Pod Security
     Standards and more. It does not cover fields that only weaken a container itself (its user,
     escalation within it, a writable file system): the bad release may have introduced the limit. */}}

{{/* Short names for both templates; equal templates, as in a pause, are not checked. Powers in a user
     namespace or sandbox do not count outside it. A pod's securityContext applies to containers without
     the field. */}}
{{- define "rollback-operator.variablesOfDeployments" -}}
- name: pods
  expression: "object.spec.template.spec"
- name: ran
  expression: "oldObject.spec.template.spec"
- name: isSame
  expression: "object.spec.template == oldObject.spec.template"
- name: containers
  expression: >-
    variables.isSame ? []
    : variables.pods.containers + (has(variables.pods.initContainers) ? variables.pods.initContainers : [])
- name: leavesSandbox
  expression: >-
    (has(variables.ran.hostUsers) && !variables.ran.hostUsers
    && (!has(variables.pods.hostUsers) || variables.pods.hostUsers))
    || (has(variables.ran.runtimeClassName)
    && (!has(variables.pods.runtimeClassName) || variables.pods.runtimeClassName != variables.ran.runtimeClassName))
- name: running
  expression: >-
    variables.leavesSandbox ? []
    : variables.ran.containers + (has(variables.ran.initContainers) ? variables.ran.initContainers : [])
- name: volumes
  expression: "!variables.isSame && has(variables.pods.volumes) ? variables.pods.volumes : []"
- name: mounted
  expression: "!variables.leavesSandbox && has(variables.ran.volumes) ? variables.ran.volumes : []"
- name: hostPaths
  expression: "variables.volumes.filter(item, has(item.hostPath)).map(item, item.name)"
- name: account
  expression: >-
    has(variables.pods.serviceAccountName) && variables.pods.serviceAccountName != ''
    ? variables.pods.serviceAccountName : 'default'
- name: hadAccount
  expression: >-
    variables.account == (has(variables.ran.serviceAccountName) && variables.ran.serviceAccountName != ''
    ? variables.ran.serviceAccountName : 'default')
    && ({{ include "rollback-operator.hasToken" "variables.ran" }} || !{{ include "rollback-operator.hasToken" "variables.pods" }})
{{- end -}}

{{/* CEL: pods of this template have a token of their account. */}}
{{- define "rollback-operator.hasToken" -}}
(!has({{ . }}.automountServiceAccountToken) || {{ . }}.automountServiceAccountToken || (has({{ . }}.volumes)
    && {{ . }}.volumes.exists(item, has(item.projected) && has(item.projected.sources)
    && item.projected.sources.exists(source, has(source.serviceAccountToken)))))
{{- end -}}

{{/* CEL: a field of a container's securityContext, otherwise of its pod's; {} without either. */}}
{{- define "rollback-operator.effective" -}}
(has({{ .item }}.securityContext) && has({{ .item }}.securityContext.{{ .field }}) ? {{ .item }}.securityContext.{{ .field }}
    : (has({{ .pods }}.securityContext) && has({{ .pods }}.securityContext.{{ .field }})
    ? {{ .pods }}.securityContext.{{ .field }} : dyn({})))
{{- end -}}

{{/* Fields that give a container, or a whole pod, power over its node. CEL: `harmless` if the value
     `found` gives none, `same` if the running value `known` gives as much. */}}
{{- define "rollback-operator.powersOfContainers" -}}
{{- $profile := dict "harmless" "!has(found.type) || found.type != 'Unconfined'" "same" "has(known.type) && known.type == 'Unconfined'" -}}
- field: seccompProfile
  {{- toYaml $profile | nindent 2 }}
- field: appArmorProfile
  {{- toYaml $profile | nindent 2 }}
- field: seLinuxOptions
  harmless: >-
    (!has(found.type) || found.type in ['', 'container_t', 'container_init_t', 'container_kvm_t', 'container_engine_t'])
    && (!has(found.user) || found.user == '') && (!has(found.role) || found.role == '')
  same: >-
    (has(found.type) ? found.type : '') == (has(known.type) ? known.type : '')
    && (has(found.user) ? found.user : '') == (has(known.user) ? known.user : '')
    && (has(found.role) ? found.role : '') == (has(known.role) ? known.role : '')
{{- end -}}

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
- expression: >-
    object.spec.replicas == oldObject.spec.replicas || object.spec.replicas > 0
    || request.namespace in {{ toJson .Values.traffic.namespaces | replace "\"" "'" }}
  message: "spec.replicas: the operator does not scale to zero in this namespace: see traffic.namespaces of its chart"
  reason: Forbidden
{{- $back := ": roll back manually" }}
{{- range list "hostNetwork" "hostPID" "hostIPC" }}
- expression: >-
    !has(variables.pods.{{ . }}) || !variables.pods.{{ . }} || (!variables.leavesSandbox && has(variables.ran.{{ . }}) && variables.ran.{{ . }})
  message: "spec.template.spec.{{ . }}: the running pods do not have it{{ $back }}"
  reason: Forbidden
{{- end }}
{{- range list "nodeName" "priorityClassName" }}
- expression: >-
    !has(variables.pods.{{ . }}) || variables.pods.{{ . }} == ''
    || (has(variables.ran.{{ . }}) && variables.ran.{{ . }} == variables.pods.{{ . }})
  message: "spec.template.spec.{{ . }}: the running pods have another{{ $back }}"
  reason: Forbidden
{{- end }}
- expression: >-
    !has(variables.pods.securityContext) || !has(variables.pods.securityContext.sysctls)
    || variables.pods.securityContext.sysctls.all(item, item.name in ['kernel.shm_rmid_forced',
    'net.ipv4.ip_local_port_range', 'net.ipv4.ip_local_reserved_ports', 'net.ipv4.ip_unprivileged_port_start',
    'net.ipv4.ping_group_range', 'net.ipv4.tcp_fin_timeout', 'net.ipv4.tcp_keepalive_intvl',
    'net.ipv4.tcp_keepalive_probes', 'net.ipv4.tcp_keepalive_time', 'net.ipv4.tcp_rmem', 'net.ipv4.tcp_syncookies',
    'net.ipv4.tcp_wmem'] || (!variables.leavesSandbox && has(variables.ran.securityContext)
    && has(variables.ran.securityContext.sysctls) && variables.ran.securityContext.sysctls.exists(known, known.name == item.name)))
  message: "spec.template.spec.securityContext.sysctls: the running pods do not have this unsafe sysctl{{ $back }}"
  reason: Forbidden
{{- /* Untyped, so that types of a later Kubernetes are fenced too. */}}
- expression: >-
    variables.volumes.all(item, dyn(item).all(key, key in ['name', 'configMap', 'csi', 'downwardAPI', 'emptyDir',
    'ephemeral', 'image', 'persistentVolumeClaim', 'projected', 'secret']
    || variables.mounted.exists(known, key == 'hostPath' ? has(known.hostPath) && known.hostPath.path == item.hostPath.path
    : key in dyn(known) && dyn(known)[key] == dyn(item)[key])))
  message: "spec.template.spec.volumes: the running pods do not have a hostPath, or a volume of a server or driver, like this{{ $back }}"
  reason: Forbidden
- expression: >-
    variables.containers.all(item, size(variables.hostPaths) == 0 || !has(item.volumeMounts)
    || item.volumeMounts.all(mount, !(mount.name in variables.hostPaths)
    || variables.running.exists(known, has(known.volumeMounts) && known.volumeMounts.exists(old,
    (!has(old.readOnly) || !old.readOnly || (has(mount.readOnly) && mount.readOnly))
    && (!has(old.subPath) || (has(mount.subPath) && mount.subPath == old.subPath))
    && (!has(old.subPathExpr) || (has(mount.subPathExpr) && mount.subPathExpr == old.subPathExpr))
    && variables.mounted.exists(there, there.name == old.name && has(there.hostPath)
    && variables.volumes.exists(here, here.name == mount.name && here.hostPath.path == there.hostPath.path))))))
  message: "spec.template.spec.containers.volumeMounts: the running pods mount less of the hostPath, or read-only{{ $back }}"
  reason: Forbidden
- expression: >-
    variables.containers.all(item, !has(item.securityContext) || !has(item.securityContext.privileged)
    || !item.securityContext.privileged || variables.running.exists(known, known.name == item.name
    && has(known.securityContext) && has(known.securityContext.privileged) && known.securityContext.privileged))
  message: "spec.template.spec.containers: the operator makes no container privileged that does not run so{{ $back }}"
  reason: Forbidden
- expression: >-
    variables.containers.all(item, !has(item.securityContext) || !has(item.securityContext.capabilities)
    || !has(item.securityContext.capabilities.add) || item.securityContext.capabilities.add.all(right,
    right in ['AUDIT_WRITE', 'CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL', 'MKNOD', 'NET_BIND_SERVICE',
    'SETFCAP', 'SETGID', 'SETPCAP', 'SETUID', 'SYS_CHROOT'] || variables.running.exists(known, known.name == item.name
    && has(known.securityContext) && ((has(known.securityContext.privileged) && known.securityContext.privileged)
    || (has(known.securityContext.capabilities) && has(known.securityContext.capabilities.add)
    && (right in known.securityContext.capabilities.add || 'ALL' in known.securityContext.capabilities.add))))))
  message: "spec.template.spec.containers.securityContext.capabilities: the running container does not have this capability{{ $back }}"
  reason: Forbidden
- expression: >-
    variables.containers.all(item, !has(item.securityContext) || !has(item.securityContext.procMount)
    || item.securityContext.procMount == 'Default' || variables.running.exists(known, known.name == item.name
    && has(known.securityContext) && has(known.securityContext.procMount)
    && known.securityContext.procMount == item.securityContext.procMount))
  message: "spec.template.spec.containers.securityContext.procMount: the running container has a masked /proc{{ $back }}"
  reason: Forbidden
{{- range include "rollback-operator.powersOfContainers" . | fromYamlArray }}
- expression: >-
    variables.containers.all(item, [{{ include "rollback-operator.effective" (dict "item" "item" "pods" "variables.pods" "field" .field) }}]
    .all(found, ({{ .harmless }}) || variables.running.exists(container, container.name == item.name
    && [{{ include "rollback-operator.effective" (dict "item" "container" "pods" "variables.ran" "field" .field) }}]
    .exists(known, {{ .same }}))))
  message: "spec.template.spec.securityContext.{{ .field }}, of the pod or a container: the running container is more restricted{{ $back }}"
  reason: Forbidden
{{- end }}
{{- $hostProcess := "has(%[1]s.securityContext) && has(%[1]s.securityContext.windowsOptions) && has(%[1]s.securityContext.windowsOptions.hostProcess) && %[1]s.securityContext.windowsOptions.hostProcess" }}
- expression: >-
    (!({{ printf $hostProcess "variables.pods" }})
    && variables.containers.all(item, !({{ printf $hostProcess "item" }}) || variables.running.exists(known,
    known.name == item.name && {{ printf $hostProcess "known" }})))
    || (!variables.leavesSandbox && {{ printf $hostProcess "variables.ran" }})
  message: "spec.template.spec.securityContext.windowsOptions.hostProcess, of the pod or a container: the running pods are not host processes{{ $back }}"
  reason: Forbidden
- expression: >-
    variables.isSame || !has(object.spec.template.metadata) || !has(object.spec.template.metadata.annotations)
    || dyn(object.spec.template.metadata.annotations).all(key,
    !key.startsWith('container.apparmor.security.beta.kubernetes.io/')
    || object.spec.template.metadata.annotations[key] != 'unconfined'
    || (!variables.leavesSandbox && has(oldObject.spec.template.metadata)
    && has(oldObject.spec.template.metadata.annotations) && key in oldObject.spec.template.metadata.annotations
    && oldObject.spec.template.metadata.annotations[key] == 'unconfined'))
  message: "spec.template.metadata.annotations: the running container is restricted by AppArmor{{ $back }}"
  reason: Forbidden
- expression: >-
    (has(variables.pods.hostNetwork) && variables.pods.hostNetwork) || variables.containers.all(item, !has(item.ports)
    || item.ports.all(port, !has(port.hostPort) || port.hostPort == 0 || variables.running.exists(known,
    known.name == item.name && has(known.ports) && known.ports.exists(old, has(old.hostPort)
    && old.hostPort == port.hostPort && (has(old.protocol) ? old.protocol : 'TCP') == (has(port.protocol) ? port.protocol : 'TCP')
    && (has(old.hostIP) ? old.hostIP : '') == (has(port.hostIP) ? port.hostIP : '')))))
  message: "spec.template.spec.containers.ports.hostPort: the running container does not have this host port{{ $back }}"
  reason: Forbidden
{{- /* The kubelet calls from its node's network. */}}
{{- range list "livenessProbe" "readinessProbe" "startupProbe" "lifecycle.postStart" "lifecycle.preStop" }}
{{- $asked := . }}
{{- $has := list }}
{{- $known := list }}
{{- $path := "" }}
{{- range splitList "." . }}
{{- $path = printf "%s.%s" $path . }}
{{- $has = append $has (printf "has(item%s)" $path) }}
{{- $known = append $known (printf "has(known%s)" $path) }}
{{- end }}
- expression: >-
    variables.containers.all(item, !({{ join " && " $has }}) || (
    {{- range $place, $how := list "httpGet" "tcpSocket" }}
    {{- if $place }} && {{ end -}}
    (!has(item.{{ $asked }}.{{ $how }}) || !has(item.{{ $asked }}.{{ $how }}.host) || item.{{ $asked }}.{{ $how }}.host == ''
    || variables.running.exists(known, known.name == item.name && {{ join " && " $known }}
    && has(known.{{ $asked }}.{{ $how }}) && has(known.{{ $asked }}.{{ $how }}.host)
    && known.{{ $asked }}.{{ $how }}.host == item.{{ $asked }}.{{ $how }}.host))
    {{- end }}))
  message: "spec.template.spec.containers.{{ . }}: the kubelet does not call this host for the running container{{ $back }}"
  reason: Forbidden
{{- end }}
{{- /* One expression each: the API server limits the cost of an expression, and authorizer checks are costly. */}}
{{- range include "rollback-operator.powersOfAccounts" . | fromJsonArray }}
{{- $parts := splitList "/" (index . 1) }}
- expression: >-
    variables.hadAccount || !authorizer.serviceAccount(request.namespace, variables.account)
    .group('{{ index . 0 }}').resource('{{ first $parts }}')
    {{- if gt (len $parts) 1 }}.subresource('{{ last $parts }}'){{ end }}.check('{{ index . 2 }}').allowed()
  message: >-
    spec.template.spec.serviceAccountName: the operator gives pods no account that may {{ index . 2 }} {{ index . 1 }}
    of the whole cluster, if the running pods have another or no token{{ $back }}
  reason: Forbidden
{{- end }}
{{- end -}}

{{/* Powers over the whole cluster: group, resource, verb. */}}
{{- define "rollback-operator.powersOfAccounts" -}}
[["", "secrets", "list"], ["", "pods", "create"], ["", "pods/exec", "create"], ["", "serviceaccounts/token", "create"],
["", "users", "impersonate"], ["apps", "daemonsets", "create"], ["rbac.authorization.k8s.io", "clusterrolebindings", "create"]]
{{- end -}}

{{- define "rollback-operator.fenceOfPolicies" -}}
- expression: "object.spec == oldObject.spec"
  message: "spec: the operator does not change a policy"
  reason: Forbidden
{{- end -}}

{{- define "rollback-operator.fenceOfRollbacks" -}}
- expression: "object.spec == oldObject.spec"
  message: "spec: the operator changes no stored intent, and approves none"
  reason: Forbidden
{{- end -}}

{{- define "rollback-operator.fenceOfRecords" -}}
- expression: "request.operation != 'CREATE' || (has(object.spec.fromRevision) && !has(object.spec.approval))"
  message: "spec: the operator creates only Rollbacks that carry their plan, and approves none"
  reason: Forbidden
- expression: "request.operation != 'DELETE' || (has(oldObject.status) && has(oldObject.status.outcome))"
  message: "the operator deletes no Rollback that has not ended"
  reason: Forbidden
{{- end -}}

{{- define "rollback-operator.variablesOfConfigMaps" -}}
- name: whole
  expression: "object != null && has(object.metadata.name) ? object.metadata.name : request.name"
- name: isStored
  expression: "variables.whole.endsWith('.known-good')"
- name: name
  expression: "variables.isStored ? variables.whole.substring(0, size(variables.whole) - 11) : variables.whole"
# Those of the chart value restoreConfigMaps.
- name: isRestorable
  expression: >-
    false
    {{- range .Values.restoreConfigMaps }}
    || (request.namespace == '{{ .namespace }}'{{ with .names }} && variables.name in {{ toJson . | replace "\"" "'" }}{{ end }})
    {{- end }}
{{- end -}}

{{- define "rollback-operator.fenceOfConfigMaps" -}}
- expression: >-
    {{- include "rollback-operator.sameBut" (dict "new" "object" "old" "oldObject" "keys" (list "metadata" "data" "binaryData")) | nindent 4 }}
  message: "the operator changes only data of a ConfigMap"
  reason: Forbidden
- expression: >-
    variables.isRestorable || (has(object.binaryData) == has(oldObject.binaryData)
    && (!has(object.binaryData) || object.binaryData == oldObject.binaryData))
  message: >-
    binaryData: the operator changes only data, and restores only ConfigMaps of the chart value
    restoreConfigMaps
  reason: Forbidden
- expression: >-
    variables.isRestorable || (has(object.data) && has(oldObject.data)
    && object.data.all(key, key in oldObject.data) && oldObject.data.all(key, key in object.data)
    && object.data.filter(key, object.data[key] != oldObject.data[key]).size() <= 1)
  message: >-
    data: the operator sets one existing key, and restores only ConfigMaps of the chart value
    restoreConfigMaps
  reason: Forbidden
{{- end -}}

{{- define "rollback-operator.fenceOfStoredConfigMaps" -}}
- expression: "request.operation == 'CREATE' && variables.isStored && variables.isRestorable"
  message: >-
    metadata.name: the operator creates only NAME.known-good for the ConfigMaps of the chart value
    restoreConfigMaps, and deletes none
  reason: Forbidden
- expression: >-
    has(object.metadata.ownerReferences) && size(object.metadata.ownerReferences) == 1
    && object.metadata.ownerReferences[0].kind == 'RollbackPolicy'
    && object.metadata.ownerReferences[0].apiVersion.startsWith('rollback.tickettoken.io/')
  message: "metadata.ownerReferences: a RollbackPolicy owns what the operator creates"
  reason: Forbidden
{{- end -}}

{{- define "rollback-operator.fenceOfAutoscalers" -}}
- expression: >-
    {{- include "rollback-operator.sameBut" (dict "new" "object.spec" "old" "oldObject.spec" "keys" (list "minReplicas" "maxReplicas")) | nindent 4 }}
  message: "spec: the operator changes only minReplicas and maxReplicas"
  reason: Forbidden
{{- end -}}

{{- define "rollback-operator.fenceOfServices" -}}
{{- $new := "(has(object.spec.selector) ? dyn(object.spec.selector) : dyn({}))" -}}
{{- $old := "(has(oldObject.spec.selector) ? dyn(oldObject.spec.selector) : dyn({}))" -}}
- expression: >-
    {{- include "rollback-operator.sameBut" (dict "new" "object.spec" "old" "oldObject.spec" "keys" (list "selector")) | nindent 4 }}
  message: "spec: the operator changes only selector"
  reason: Forbidden
- expression: >-
    {{- include "rollback-operator.sameBut" (dict "new" $new "old" $old "keys" (list "rollback.tickettoken.io/stopped-by")) | nindent 4 }}
  message: "spec.selector: the operator adds and removes only its own label"
  reason: Forbidden
{{- end -}}

{{- define "rollback-operator.fenceOfApplications" -}}
{{- $new := "(has(object.spec.syncPolicy) ? dyn(object.spec.syncPolicy) : dyn({}))" -}}
{{- $old := "(has(oldObject.spec.syncPolicy) ? dyn(oldObject.spec.syncPolicy) : dyn({}))" -}}
- expression: >-
    {{- include "rollback-operator.sameBut" (dict "new" "object" "old" "oldObject" "keys" (list "metadata" "spec")) | nindent 4 }}
  message: "the operator changes only spec.syncPolicy.automated of an Application"
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

{{/* A Job has the power of its namespace's service accounts, and nothing of the node. */}}
{{- define "rollback-operator.fenceOfJobs" -}}
- expression: "request.operation != 'CREATE' || request.namespace in {{ .Values.migrations.namespaces | toJson | replace "\"" "'" }}"
  message: "the operator creates Jobs only in the namespaces of migrations.namespaces of its chart"
  reason: Forbidden
- expression: >-
    [request.operation == 'DELETE' ? oldObject : object].all(job, job.metadata.name.startsWith('rollback-')
    && has(job.metadata.ownerReferences) && job.metadata.ownerReferences.size() == 1
    && job.metadata.ownerReferences[0].apiVersion.startsWith('rollback.tickettoken.io/'))
  message: "the operator creates and deletes only Jobs of its own Rollbacks"
  reason: Forbidden
- expression: >-
    request.operation == 'DELETE' || (object.spec.backoffLimit == 0 && has(object.spec.activeDeadlineSeconds)
    && object.spec.activeDeadlineSeconds <= 3600 && has(object.spec.ttlSecondsAfterFinished)
    && (!has(object.spec.parallelism) || object.spec.parallelism == 1)
    && (!has(object.spec.completions) || object.spec.completions == 1)
    && object.spec.template.spec.containers.size() == 1 && !has(object.spec.template.spec.initContainers)
    && object.spec.template.spec.restartPolicy == 'Never')
  message: "spec: a Job of the operator runs one container, once, with a time limit"
  reason: Forbidden
- expression: >-
    request.operation == 'DELETE' || [object.spec.template.spec].all(pod,
    (!has(pod.hostNetwork) || !pod.hostNetwork) && (!has(pod.hostPID) || !pod.hostPID)
    && (!has(pod.hostIPC) || !pod.hostIPC) && (!has(pod.nodeName) || pod.nodeName == '')
    && (!has(pod.volumes) || pod.volumes.all(item, !has(item.hostPath)))
    && pod.containers.all(item, !has(item.securityContext) || (
    (!has(item.securityContext.privileged) || !item.securityContext.privileged)
    && (!has(item.securityContext.capabilities) || !has(item.securityContext.capabilities.add)))))
  message: "spec.template: a Job of the operator has no power over its node (host namespaces, host paths, privileges, capabilities)"
  reason: Forbidden
{{- $account := "(request.operation != 'DELETE' && has(object.spec.template.spec.serviceAccountName) && object.spec.template.spec.serviceAccountName != '' ? object.spec.template.spec.serviceAccountName : 'default')" }}
{{- range include "rollback-operator.powersOfAccounts" . | fromJsonArray }}
{{- $parts := splitList "/" (index . 1) }}
- expression: >-
    request.operation == 'DELETE' || !authorizer.serviceAccount(request.namespace, {{ $account }})
    .group('{{ index . 0 }}').resource('{{ first $parts }}')
    {{- if gt (len $parts) 1 }}.subresource('{{ last $parts }}'){{ end }}.check('{{ index . 2 }}').allowed()
  message: >-
    spec.template.spec.serviceAccountName: the operator runs no Job with an account that may {{ index . 2 }}
    {{ index . 1 }} of the whole cluster: roll the migrations back manually
  reason: Forbidden
{{- end }}
{{- end -}}

{{- define "rollback-operator.fenceOfEvents" -}}
- expression: >-
    (object.involvedObject.apiVersion.startsWith('rollback.tickettoken.io/')
    || (object.involvedObject.apiVersion == 'apps/v1' && object.involvedObject.kind == 'Deployment'))
    && object.source.component == 'rollback-operator'
  message: "the operator posts Events of policies, Rollbacks and Deployments, in its own name"
  reason: Forbidden
{{- end -}}
