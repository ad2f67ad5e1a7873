"""What of Kubernetes is supported, as data: everything else in a manifest is refused by name, never ignored.

Keys are the schema's own definitions (`Container`), so that one line speaks for every place where a definition occurs;
`Definition.field` speaks for one place and goes before.
"""

from __future__ import annotations

from collections.abc import Mapping

_CONTAINER = (
    "name image imagePullPolicy command args workingDir env envFrom ports volumeMounts resources securityContext stdin "
    "tty terminationMessagePath terminationMessagePolicy stdinOnce"
)

_FIELDS = {
    "Deployment": "apiVersion kind metadata spec",
    "DeploymentSpec": "replicas selector template strategy minReadySeconds progressDeadlineSeconds "
    "revisionHistoryLimit paused",
    "DeploymentStrategy": "type rollingUpdate",
    "RollingUpdateDeployment": "maxSurge maxUnavailable",
    "StatefulSet": "apiVersion kind metadata spec",
    "StatefulSetSpec": "replicas selector template serviceName podManagementPolicy updateStrategy minReadySeconds "
    "revisionHistoryLimit volumeClaimTemplates persistentVolumeClaimRetentionPolicy",
    "StatefulSetUpdateStrategy": "type rollingUpdate",
    "RollingUpdateStatefulSetStrategy": "partition maxUnavailable",
    "StatefulSetPersistentVolumeClaimRetentionPolicy": "whenDeleted whenScaled",
    "PersistentVolumeClaim": "apiVersion kind metadata spec",
    "PersistentVolumeClaimSpec": "accessModes resources storageClassName volumeMode",
    "VolumeResourceRequirements": "requests",
    "Pod": "apiVersion kind metadata spec",
    "ConfigMap": "apiVersion kind metadata data binaryData immutable",
    "Secret": "apiVersion kind metadata data stringData type immutable",
    "ObjectMeta": "name namespace labels annotations uid resourceVersion",
    "PodTemplateSpec": "metadata spec",
    "PodTemplateSpec.metadata": "labels annotations",
    "PodSpec": "containers initContainers volumes restartPolicy terminationGracePeriodSeconds nodeSelector affinity "
    "tolerations hostNetwork hostname securityContext dnsPolicy schedulerName enableServiceLinks serviceAccount "
    "serviceAccountName automountServiceAccountToken hostPID hostIPC hostUsers shareProcessNamespace "
    "preemptionPolicy priority priorityClassName",
    "Container": f"{_CONTAINER} livenessProbe readinessProbe startupProbe",
    "PodSpec.initContainers": _CONTAINER,
    "EnvVar": "name value valueFrom",
    "EnvVarSource": "configMapKeyRef secretKeyRef fieldRef",
    "ConfigMapKeySelector": "name key optional",
    "SecretKeySelector": "name key optional",
    "ObjectFieldSelector": "fieldPath apiVersion",
    "EnvFromSource": "prefix configMapRef secretRef",
    "ConfigMapEnvSource": "name optional",
    "SecretEnvSource": "name optional",
    "ContainerPort": "containerPort hostPort hostIP name protocol",
    "ResourceRequirements": "limits requests",
    "VolumeMount": "name mountPath readOnly subPath",
    "Volume": "name emptyDir hostPath configMap secret",
    "EmptyDirVolumeSource": "medium sizeLimit",
    "HostPathVolumeSource": "path type",
    "ConfigMapVolumeSource": "name items defaultMode optional",
    "SecretVolumeSource": "secretName items defaultMode optional",
    "KeyToPath": "key path",
    "Probe": "exec httpGet tcpSocket initialDelaySeconds periodSeconds timeoutSeconds successThreshold "
    "failureThreshold",
    "ExecAction": "command",
    "HTTPGetAction": "port path host scheme httpHeaders",
    "HTTPHeader": "name value",
    "TCPSocketAction": "port host",
    "SecurityContext": "runAsUser runAsGroup runAsNonRoot privileged readOnlyRootFilesystem allowPrivilegeEscalation "
    "capabilities seccompProfile procMount",
    "Capabilities": "add drop",
    "SeccompProfile": "type",
    "PodSecurityContext": "runAsUser runAsGroup runAsNonRoot fsGroup seccompProfile",
    "Affinity": "nodeAffinity podAffinity podAntiAffinity",
    "NodeAffinity": "requiredDuringSchedulingIgnoredDuringExecution preferredDuringSchedulingIgnoredDuringExecution",
    "NodeSelector": "nodeSelectorTerms",
    "NodeSelectorTerm": "matchExpressions",
    "NodeSelectorRequirement": "key operator values",
    "PreferredSchedulingTerm": "weight preference",
    "PodAffinity": "requiredDuringSchedulingIgnoredDuringExecution preferredDuringSchedulingIgnoredDuringExecution",
    "PodAntiAffinity": "requiredDuringSchedulingIgnoredDuringExecution preferredDuringSchedulingIgnoredDuringExecution",
    "WeightedPodAffinityTerm": "weight podAffinityTerm",
    "PodAffinityTerm": "labelSelector namespaces topologyKey",
    "LabelSelector": "matchLabels matchExpressions",
    "LabelSelectorRequirement": "key operator values",
    "Toleration": "key operator value effect",
}
SUPPORTED: Mapping[str, frozenset[str]] = {name: frozenset(fields.split()) for name, fields in _FIELDS.items()}
"""Definition (or one place of it) -> the fields that are taken."""

SERVER_SIDE: Mapping[str, frozenset[str]] = {
    "Deployment": frozenset(("status",)),
    "StatefulSet": frozenset(("status",)),
    "PersistentVolumeClaim": frozenset(("status",)),
    "Pod": frozenset(("status",)),
    "ObjectMeta": frozenset(("creationTimestamp", "generation", "managedFields", "selfLink")),
    "PodTemplateSpec.metadata": frozenset(("creationTimestamp",)),
}
"""What the mesh itself writes and an exported file therefore has: dropped, as a Kubernetes server resets it."""

VALUES: Mapping[str, tuple[object, ...]] = {
    "DeploymentStrategy.type": ("RollingUpdate", "Recreate"),
    "StatefulSetSpec.podManagementPolicy": ("OrderedReady", "Parallel"),
    "PersistentVolumeClaimSpec.accessModes": ("ReadWriteOnce", "ReadWriteOncePod"),
    "Container.imagePullPolicy": ("Always", "IfNotPresent", "Never"),
    "PodSpec.restartPolicy": ("Always", "OnFailure", "Never"),
    "ContainerPort.protocol": ("TCP", "UDP", "SCTP"),
    "EmptyDirVolumeSource.medium": ("", "Memory"),
    "HostPathVolumeSource.type": (
        "", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice",
    ),
    "HTTPGetAction.scheme": ("HTTP", "HTTPS"),
    "NodeSelectorRequirement.operator": ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"),
    "LabelSelectorRequirement.operator": ("In", "NotIn", "Exists", "DoesNotExist"),
    "Toleration.operator": ("", "Equal", "Exists"),
    "Toleration.effect": ("", "NoSchedule", "PreferNoSchedule", "NoExecute"),
    "ObjectFieldSelector.fieldPath": (
        "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "status.podIP", "status.hostIP",
    ),
}  # fmt: skip
"""The words that a field may hold."""

ONLY: Mapping[str, tuple[object, ...]] = {
    "DeploymentSpec.paused": (False,),
    "StatefulSetUpdateStrategy.type": ("RollingUpdate",),
    "RollingUpdateStatefulSetStrategy.partition": (0,),
    "RollingUpdateStatefulSetStrategy.maxUnavailable": (1,),
    "StatefulSetPersistentVolumeClaimRetentionPolicy.whenDeleted": ("Retain",),
    "StatefulSetPersistentVolumeClaimRetentionPolicy.whenScaled": ("Retain",),
    "PersistentVolumeClaim.apiVersion": ("v1",),
    "PersistentVolumeClaim.kind": ("PersistentVolumeClaim",),
    "PersistentVolumeClaimSpec.storageClassName": ("", "local"),
    "PersistentVolumeClaimSpec.volumeMode": ("Filesystem",),
    "PodSpec.dnsPolicy": ("ClusterFirst", "Default"),
    "PodSpec.schedulerName": ("default-scheduler",),
    "PodSpec.enableServiceLinks": (True, False),
    "PodSpec.serviceAccount": ("", "default"),
    "PodSpec.serviceAccountName": ("", "default"),
    "PodSpec.automountServiceAccountToken": (False,),
    "PodSpec.hostPID": (False,),
    "PodSpec.hostIPC": (False,),
    "PodSpec.hostUsers": (True,),
    "PodSpec.shareProcessNamespace": (False,),
    "PodSpec.preemptionPolicy": ("PreemptLowerPriority",),
    "PodSpec.priorityClassName": ("", "system-cluster-critical", "system-node-critical"),
    "Container.terminationMessagePath": ("/dev/termination-log",),
    "Container.terminationMessagePolicy": ("File",),
    "Container.stdinOnce": (False,),
    "ObjectFieldSelector.apiVersion": ("v1",),
    "SecurityContext.procMount": ("Default",),
    "SeccompProfile.type": ("RuntimeDefault", "Unconfined"),
    "ConfigMap.immutable": (False,),
    "Secret.immutable": (False,),
}
"""Fields of which only some values are supported: Kubernetes' defaults, as an exported manifest has them."""

HINTS: Mapping[str, str] = {
    "PodSpec.priorityClassName": "a mesh has no other classes: give a number as priority",
    "PodSpec.nodeName": "use nodeSelector with kubernetes.io/hostname",
    "StatefulSetUpdateStrategy.type": "use RollingUpdate: a pod that is deleted here comes back as it was",
    "PersistentVolumeClaimSpec.storageClassName": "leave it out; volumes are directories of the machine",
    "PodSpec.imagePullSecrets": "log the machines in to the registry",
    "Probe.grpc": "use httpGet, tcpSocket or exec",
    "Volume.persistentVolumeClaim": "use volumeClaimTemplates of a StatefulSet, or hostPath with a nodeSelector",
    "ObjectMeta.generateName": "give a name",
}
"""What to do instead of something unsupported."""
