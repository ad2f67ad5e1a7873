"""What must not run twice, in manifests and as it is shown: StatefulSets, and Deployments with strategy Recreate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from beemesh_node.workloads import kubernetes
from beemesh_node.workloads.pod import LocalVolume, Volume
from beemesh_node.workloads.rollout import Rollout
from tests.node.workloads.manifests import Body, container, deployment, pod_spec, problems_of, spec_of
from tests.node.workloads.reports import ENTRY, NOW, RECORD, RUNNING, check, report

UPDATE = "spec.updateStrategy.rollingUpdate"
PLACE = "spec.volumeClaimTemplates[0]"


def claim(name: str = "data", **spec: Any) -> Body:
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec}
    return {"metadata": {"name": name}, "spec": wanted}


def stateful_set(pod: Body | None = None, **fields: Any) -> Body:
    return {**deployment(pod, serviceName="hello", **fields), "kind": "StatefulSet"}


def mounted() -> Body:
    return pod_spec(containers=[container(volumeMounts=[{"name": "data", "mountPath": "/data"}])])


def test_a_stateful_set_is_leased_and_changes_one_slot_at_a_time() -> None:
    spec = spec_of(stateful_set(replicas=3))
    assert (spec.kind, spec.replicas, spec.rollout, spec.leased) == ("StatefulSet", 3, Rollout.ORDERED, True)
    assert (spec.max_surge, spec.max_unavailable) == (0, 1)
    assert spec_of(stateful_set(podManagementPolicy="Parallel")).rollout is Rollout.PARALLEL


def test_recreate_is_leased_and_rolling_update_is_not() -> None:
    spec = spec_of(deployment(replicas=3, strategy={"type": "Recreate"}))
    assert (spec.rollout, spec.leased, spec.max_surge, spec.max_unavailable) == (Rollout.RECREATE, True, 0, 3)
    assert not spec_of(deployment()).leased
    update = {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}
    assert problems_of(deployment(strategy=update)) == {
        "spec.strategy.rollingUpdate": "may not be given when `type` is Recreate"
    }


def test_claims_become_volumes_of_the_machine_and_go_before_those_of_the_template() -> None:
    volumes = {**mounted(), "volumes": [{"name": "data", "emptyDir": {}}, {"name": "tmp"}]}
    template = spec_of(stateful_set(volumes, volumeClaimTemplates=[claim()])).template
    assert [volume.name for volume in template.volumes] == ["tmp", "data"]
    assert template.volumes[1] == Volume("data", LocalVolume(1 << 30))


@pytest.mark.parametrize(
    ("fields", "path", "message"),
    [
        ({"updateStrategy": {"type": "OnDelete"}}, "spec.updateStrategy.type", "use RollingUpdate"),
        ({"updateStrategy": {"rollingUpdate": {"partition": 1}}}, f"{UPDATE}.partition", "only 0"),
        ({"volumeClaimTemplates": [claim(storageClassName="ssd")]}, f"{PLACE}.spec.storageClassName", "leave it out"),
        ({"volumeClaimTemplates": [claim(accessModes=["ReadWriteMany"])]}, f"{PLACE}.spec.accessModes[0]", "WriteOnce"),
        ({"volumeClaimTemplates": [claim(accessModes=[])]}, f"{PLACE}.spec.accessModes", "required"),
        ({"volumeClaimTemplates": [claim(resources={})]}, f"{PLACE}.spec.resources.requests[storage]", "required"),
        ({"volumeClaimTemplates": [claim("A_B")]}, f"{PLACE}.metadata.name", "lower-case"),
        ({"volumeClaimTemplates": [claim(), claim()]}, "spec.volumeClaimTemplates[1].metadata.name", "duplicate"),
        ({"podManagementPolicy": "Random"}, "spec.podManagementPolicy", "OrderedReady"),
        ({"replicas": -1}, "spec.replicas", "between 0"),
        ({"selector": {}}, "spec.selector", "invalid for a StatefulSet"),
        ({"ordinals": {"start": 1}}, "spec.ordinals", "not supported"),
        ({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}},
         "spec.persistentVolumeClaimRetentionPolicy.whenDeleted", 'only "Retain"'),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_refused_by_its_path(fields: Body, path: str, message: str) -> None:
    assert message in problems_of(stateful_set(mounted(), **{"volumeClaimTemplates": [claim()], **fields}))[path]


def test_the_name_leaves_room_for_the_last_slot() -> None:
    long = stateful_set(replicas=100)
    long["metadata"]["name"] = "x" * 61
    assert "63 characters" in problems_of(long)["metadata.name"]


def test_it_is_shown_as_kubernetes_does() -> None:
    spec = spec_of(stateful_set(mounted(), replicas=2, volumeClaimTemplates=[claim()]))
    record = replace(RECORD, kind="StatefulSet")
    here = replace(report(0, RUNNING), pod_name="hello-0")
    ready = replace(here, claim=replace(here.claim, revision=spec.revision), ready=True)
    entry = replace(ENTRY, message="1 of 2 replicas waits: 0/1 machines can take it")
    shape = kubernetes.stateful_set(spec, record, entry, [ready], NOW)
    check(shape, "io.k8s.api.apps.v1.StatefulSet")
    status = shape["status"]
    assert (status["replicas"], status["readyReplicas"], status["updatedReplicas"]) == (1, 1, 1)
    assert "0/1 machines" in status["conditions"][0]["message"]
    assert kubernetes.stateful_set_table([shape], NOW).rows[0][:2] == ("hello", "1/2")

    pod = kubernetes.pod(ready, "oak", spec, kind="StatefulSet")
    check(pod, "io.k8s.api.core.v1.Pod")
    assert pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "0"
    assert pod["metadata"]["ownerReferences"][0]["kind"] == "StatefulSet"
    assert pod["spec"]["volumes"] == [{"name": "data", "persistentVolumeClaim": {"claimName": "data-hello-0"}}]
