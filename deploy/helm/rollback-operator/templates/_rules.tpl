{{/* The operator's permissions in a watched namespace. */}}
{{- define "rollback-operator.rules" -}}
- apiGroups: [rollback.tickettoken.io]
  resources: [rollbackpolicies]
  # patch: a finalizer, while the policy holds a rollout.
  verbs: [list, watch, patch]
- apiGroups: [rollback.tickettoken.io]
  resources: [rollbacks]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [rollback.tickettoken.io]
  resources: [rollbackpolicies/status, rollbacks/status]
  verbs: [patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, patch]
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [get, list]
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
# The checklist verifies that referenced objects exist, by metadata only. ConfigMaps and Secrets are
# included only where listed, because the permission covers their content.
- apiGroups: [""]
  resources: [persistentvolumeclaims, serviceaccounts]
  verbs: [get]
- apiGroups: [""]
  resources: [resourcequotas]
  verbs: [list]
{{- if .Values.rbac.podLogs }}
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
{{- end }}
# Autoscalers of the target. get, patch: their bounds, for the remedy Scale.
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [{{ if .Values.rbac.autoscalers }}get, list, patch{{ else }}list{{ end }}]
# Services of a release, and whether they lead to a ready pod.
- apiGroups: [""]
  resources: [services]
  verbs: [list]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
# Rollout tools and image updaters; added automatically where the kinds are installed.
{{- $served := .Capabilities.APIVersions }}
{{- if or .Values.rbac.otherTools ($served.Has "flagger.app/v1beta1") }}
- apiGroups: [flagger.app]
  resources: [canaries]
  verbs: [list]
{{- end }}
{{- if or .Values.rbac.otherTools ($served.Has "argoproj.io/v1alpha1") }}
- apiGroups: [argoproj.io]
  resources: [rollouts]
  verbs: [list]
{{- end }}
{{- if or .Values.rbac.otherTools ($served.Has "image.toolkit.fluxcd.io/v1") ($served.Has "image.toolkit.fluxcd.io/v1beta2") }}
- apiGroups: [image.toolkit.fluxcd.io]
  resources: [imagepolicies, imageupdateautomations]
  verbs: [list]
{{- end }}
{{- end -}}

{{/* Who has others suspended may patch them: all of those that the operator may, since the API server
     cannot see which it would be. "unless" is a condition in CEL under which nobody is asked. */}}
{{- define "rollback-operator.mayPatchOwners" -}}
{{- $unless := .unless }}
{{- range .gitOps.argoCD.namespaces }}
- expression: >-
    {{ $unless }}
    || authorizer.group('argoproj.io').resource('applications').namespace('{{ . }}')
    .check('patch').allowed()
  message: >-
    spec.safety.gitOps: you may not patch Applications in {{ . }}, which the operator would do for
    you
  reason: Forbidden
{{- end }}
{{- range .gitOps.flux.namespaces }}
- expression: >-
    {{ $unless }}
    || (authorizer.group('kustomize.toolkit.fluxcd.io').resource('kustomizations')
    .namespace('{{ . }}').check('patch').allowed()
    && authorizer.group('helm.toolkit.fluxcd.io').resource('helmreleases')
    .namespace('{{ . }}').check('patch').allowed())
  message: >-
    spec.safety.gitOps: you may not patch Kustomizations and HelmReleases in {{ . }}, which the
    operator would do for you
  reason: Forbidden
{{- end }}
{{- end -}}
