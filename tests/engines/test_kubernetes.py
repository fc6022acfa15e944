"""The manifest for Kubernetes, against Kubernetes' own schemas and without a cluster; and its commands, as processes."""

import base64
import copy
import re
import shutil
import subprocess

import pytest
from end_to_end import DEADLINE, ROOT
from pages import follow

MANIFEST = ROOT / "docs" / "examples" / "kubernetes.yaml"

# The first version that has all that is used, and the newest that there are schemas for.
VERSIONS = ["1.31", "1.37"]

NEEDED = "not run: kubernetes-validate is not installed, which has the schemas"
validator = pytest.importorskip("kubernetes_validate", reason=NEEDED)
yaml = pytest.importorskip("yaml", reason=NEEDED)

TWENTY = """
    import pytest

    @pytest.mark.parametrize("n", range(20))
    def test_n(n):
        pass
"""


def read(text):
    return [document for document in yaml.safe_load_all(text) if document]


def manifest():
    return read(MANIFEST.read_text(encoding="utf-8"))


def named(documents, kind, name):
    return next(each for each in documents if (each["kind"], each["metadata"]["name"]) == (kind, name))


def check(documents, version):
    for document in documents:
        validator.validate(document, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_manifest_is_what_the_schemas_allow(version):
    documents = manifest()
    assert [each["kind"] for each in documents] == ["Service", "Job", "Job"]
    check(documents, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_schemas_would_find_a_mistake(version):
    """Otherwise the test above says nothing."""
    for spoil in [
        lambda job: job["spec"].update(podFailurePolicies={}),
        lambda job: job["spec"].update(completions="four"),
        lambda job: job["spec"]["podFailurePolicy"]["rules"][0].pop("action"),
        lambda job: job["spec"]["template"]["spec"]["containers"][0]["volumeMounts"][0].pop("mountPath"),
    ]:
        job = copy.deepcopy(named(manifest(), "Job", "xdist-workers"))
        spoil(job)
        with pytest.raises(validator.ValidationError):
            check([job], version)


def test_what_the_api_server_requires_besides():
    """Rules that are no part of the schemas (kubernetes.io, API reference of batch/v1 Job; read for 1.31)."""
    jobs = [each for each in manifest() if each["kind"] == "Job"]
    for job in jobs:
        spec, pod = job["spec"], job["spec"]["template"]["spec"]
        containers = {container["name"] for container in pod["containers"]}
        if "podFailurePolicy" in spec:
            assert pod["restartPolicy"] == "Never"
            for rule in spec["podFailurePolicy"]["rules"]:
                assert len({"onExitCodes", "onPodConditions"} & set(rule)) == 1
                assert rule.get("onExitCodes", {}).get("containerName") in {None, *containers}
                assert rule["action"] != "FailIndex" or "backoffLimitPerIndex" in spec
        if "backoffLimitPerIndex" in spec:
            assert spec["completionMode"] == "Indexed" and pod["restartPolicy"] == "Never"
            assert spec["maxFailedIndexes"] <= spec["completions"]
        # The name of an indexed pod is also its host name, which has 63 characters at most.
        assert len(f"{job['metadata']['name']}-{spec.get('completions', 0)}") <= 57
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_the_parts_belong_together():
    documents = manifest()
    service = named(documents, "Service", "xdist-coordinator")
    coordinator = named(documents, "Job", "xdist-coordinator")["spec"]["template"]
    (container,) = coordinator["spec"]["containers"]
    assert service["spec"]["selector"].items() <= coordinator["metadata"]["labels"].items()
    (port,) = service["spec"]["ports"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert f"--listen=0.0.0.0:{ports[port['targetPort']]}" in container["command"]
    assert f"--advertise={service['metadata']['name']}:{port['port']}" in container["command"]
    token = next(word for word in container["command"] if word.startswith("--join-file=")).partition("=")[2]
    assert container["readinessProbe"]["exec"]["command"] == ["test", "-e", token]
    worker = named(documents, "Job", "xdist-workers")["spec"]["template"]["spec"]["containers"][0]
    assert f"--slots={worker['resources']['requests']['cpu']}" in worker["command"]
    page = (ROOT / "docs" / "guide" / "kubernetes.md").read_text(encoding="utf-8")
    assert f"cat {token} |" in page


def test_no_token_is_where_others_may_read_it():
    for job in manifest()[1:]:
        pod = job["spec"]["template"]["spec"]
        assert not [container for container in pod["containers"] if "env" in container or "envFrom" in container]
        assert not pod["automountServiceAccountToken"]
    (volume,) = named(manifest(), "Job", "xdist-workers")["spec"]["template"]["spec"]["volumes"]
    assert volume["secret"]["secretName"] == "xdist-join" and volume["secret"]["defaultMode"] == 0o440
    assert "xdist-join-1-" not in MANIFEST.read_text(encoding="utf-8")


def test_its_commands_run_the_tests(xdist):
    """As they stand there, but for names that only a cluster has: the directory, the address, and the program."""
    xdist.files(tests__test_a=TWENTY)
    shutil.copy(xdist.directory / "signals_of_suite.py", xdist.directory / "tests")
    jobs = {job["metadata"]["name"]: job["spec"] for job in manifest()[1:]}

    def command(name):
        words = jobs[name]["template"]["spec"]["containers"][0]["command"]
        for old, new in [("/run/xdist", str(xdist.scratch)), ("0.0.0.0:4711", "127.0.0.1:0"), ("xdist-coordinator:4711", "127.0.0.1")]:  # fmt: skip
            words = [word.replace(old, new) for word in words]
        return [xdist.binary, *words[1:]]

    env = {**xdist.env, "PATH": f"{xdist.python.rpartition('/')[0]}:{xdist.env['PATH']}"}
    options = dict(cwd=xdist.directory, env=env, text=True, stdin=subprocess.DEVNULL)
    coordinator = subprocess.Popen(
        command("xdist-coordinator"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )
    workers = []
    try:
        assert "workers can join" in coordinator.stderr.readline()
        for _ in range(2):
            workers.append(subprocess.Popen(command("xdist-workers"), **options))
        out, err = coordinator.communicate(timeout=DEADLINE)
        assert coordinator.returncode == 0 and "20 passed" in out and "4 workers [20 items]" in out, out + err
        assert [worker.wait(DEADLINE) for worker in workers] == [0, 0]
    finally:
        for process in [coordinator, *workers]:
            process.kill()


def test_without_a_run_a_worker_ends_as_the_manifest_expects(xdist):
    """With the exit code that the rule `FailIndex` names."""
    (rule,) = [
        rule
        for rule in named(manifest(), "Job", "xdist-workers")["spec"]["podFailurePolicy"]["rules"]
        if rule["action"] == "FailIndex"
    ]
    worker = subprocess.run([xdist.binary, "worker", f"--join={xdist.scratch}/token"], capture_output=True)
    assert [worker.returncode] == rule["onExitCodes"]["values"]


@pytest.mark.skipif(not shutil.which("kubectl"), reason="not run: no kubectl on this machine")
def test_what_needs_no_cluster_can_be_followed_to_the_letter(tmp_path, xdist):
    shutil.copy(MANIFEST, tmp_path)
    (tmp_path / "join.txt").write_text("xdist-join-1-no-secret\n")
    # No cluster that this machine may know of.
    env = {**xdist.env, "KUBECONFIG": str(tmp_path / "none"), "HOME": str(tmp_path)}
    done = follow("kubernetes.md", tmp_path, env, DEADLINE)
    assert [code for _, code, _ in done] == [0, 0], done
    changed = read(done[0][2])
    workers = named(changed, "Job", "xdist-workers")["spec"]
    assert (workers["completions"], workers["parallelism"]) == (8, 8)
    image = workers["template"]["spec"]["containers"][0]["image"]
    assert image == "registry.example.org/project-tests:1"
    (secret,) = read(done[1][2])
    assert secret["metadata"]["name"] == "xdist-join" and list(secret["data"]) == ["token"]
    for version in VERSIONS:
        check([*changed, secret], version)


@pytest.mark.skipif(not shutil.which("kubectl"), reason="not run: no kubectl on this machine")
def test_the_token_gets_into_the_secret_by_a_pipe(tmp_path):
    """The page's command, with a file in place of the coordinator's pod, and told to make nothing."""
    page = (ROOT / "docs" / "guide" / "kubernetes.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"(kubectl exec .*?/dev/stdin)", page, re.DOTALL)
    source = "kubectl exec job/xdist-coordinator -- cat /run/xdist/token"
    assert source in command
    (tmp_path / "token").write_text("xdist-join-1-no-secret\n")
    command = f"{command.replace(source, 'cat token')} --dry-run=client --output=yaml"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, text=True, capture_output=True, timeout=DEADLINE)
    (secret,) = read(done.stdout)
    assert base64.b64decode(secret["data"]["token"]) == b"xdist-join-1-no-secret\n", done.stderr
    (volume,) = named(manifest(), "Job", "xdist-workers")["spec"]["template"]["spec"]["volumes"]
    assert secret["metadata"]["name"] == volume["secret"]["secretName"]


def test_every_command_of_the_page_is_one_that_kubectl_has():
    """Those that need a cluster were not run; but they name what there is."""
    page = (ROOT / "docs" / "guide" / "kubernetes.md").read_text(encoding="utf-8")
    objects = {f"job/{job['metadata']['name']}" for job in manifest()[1:]}
    assert set(re.findall(r"job/[\w-]+", page)) <= objects
    labels = named(manifest(), "Job", "xdist-coordinator")["spec"]["template"]["metadata"]["labels"]
    for selector in re.findall(r"--selector=([\w=,]+)", page):
        pairs = dict(pair.split("=") for pair in selector.split(","))
        assert set(pairs) <= set(labels) and pairs["role"] in ("coordinator", "worker")
