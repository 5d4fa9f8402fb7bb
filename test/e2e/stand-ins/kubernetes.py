#!/usr/bin/python3
"""Stands in for k3s, kubectl, kubeadm and kubelet, which are not to be had where the tests run.

Records how it was called (RECORD), keeps a little state, and answers as the real ones do, as far as Bramble asks: the words of
errors are those of the real programs. A control plane is a server of this file on port 6443 of the node's address, without TLS; of
several one holds the state and the others ask it, so that nothing of etcd is shown by it. What it is called by is who it is.
"""
import json, os, secrets, socket, subprocess, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import Request, urlopen

RECORD = "/var/log/stand-in.ndjson"
K3S = "/var/lib/rancher/k3s"
PORT = 6443
READY_S = 30
PKI = "/etc/kubernetes/pki"
KUBELET_SETTINGS = "/var/lib/kubelet/config.yaml"


def record(program, **more):
    with open(RECORD, "a") as file:
        file.write(json.dumps({"program": program, "argv": sys.argv[1:], **more}) + "\n")


def read(path, otherwise=""):
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return otherwise


def write(path, text, mode=0o600):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "w") as file:
        file.write(text)
    os.chmod(path + ".new", mode)
    os.rename(path + ".new", path)


def own_address():
    return read("/run/stand-in-address", "") or subprocess.run(["hostname", "-I"], capture_output=True, text=True).stdout.split()[0]


def die(text, code=1):
    print(text, file=sys.stderr, flush=True)
    sys.exit(code)


def settings(path):
    lines = [line.split(": ", 1) for line in read(path).splitlines() if ": " in line and not line.startswith("#")]
    return {key: json.loads(value) for key, value in lines}


def ask(url, timeout=10, **question):
    request = Request(url.replace("https://", "http://"), data=json.dumps(question).encode(), method="POST")
    with urlopen(request, timeout=timeout) as answer:
        return json.loads(answer.read())


# The control plane.


class State:
    def __init__(self, path):
        self.path, self.lock = path, threading.RLock()
        empty = {"uid": secrets.token_hex(8), "nodes": {}, "passwords": {}, "tokens": {}, "pods": {}, "server_token": ""}
        self.data = json.loads(read(path)) if read(path) else empty

    def save(self):
        write(self.path, json.dumps(self.data))

    def is_ready(self, node):
        return time.time() - node.get("beat", 0) < READY_S

    def node_json(self, name, node):
        labels = {"kubernetes.io/hostname": name, **node["labels"]}
        if node["server"]:
            labels["node-role.kubernetes.io/control-plane"] = "true"
        ready = "True" if self.is_ready(node) else "Unknown"
        return {
            "metadata": {"name": name, "labels": labels, "annotations": node["annotations"]},
            "spec": {"taints": node["taints"], **({"unschedulable": True} if node["cordoned"] else {})},
            "status": {
                "conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": ready}],
                "nodeInfo": {"kubeletVersion": node["version"], "bootID": node["boot"]},
            },
        }

    def answer(self, question):
        with self.lock:
            result = getattr(self, "on_" + question.pop("ask"))(**question)
            self.save()
            return result

    def on_health(self):
        return {"uid": self.data["uid"]}

    def is_token(self, token, server):
        secret = token.split("::")[-1]
        if secret == self.data["server_token"].split("::")[-1]:
            return True
        return not server and self.data["tokens"].get(secret, 0) > time.time()

    def on_join(self, name, token, password, server):
        if not self.is_token(token, server):
            return {"error": "failed to validate token: https://control-plane:6443/v1-k3s/config: 401 Unauthorized"}
        known = self.data["passwords"].get(name)
        if known is not None and password is not None and known != password:
            return {"error": "Node password rejected, duplicate hostname or contents of '/etc/rancher/node/password' may not match server node-passwd entry, try enabling a unique node name with the --with-node-id flag"}
        self.data["passwords"][name] = password
        return {"server_token": self.data["server_token"]} if server else {}

    def on_beat(self, name, version, boot, server, create):
        node = self.data["nodes"].get(name)
        if node is None:
            if not create:
                return {"gone": True}
            node = self.data["nodes"][name] = {"labels": {}, "annotations": {}, "taints": [], "cordoned": False}
        node.update(version=version, boot=boot, server=server, beat=time.time())
        return {}

    def on_token(self, ttl, form):
        token = f"{secrets.token_hex(3)}.{secrets.token_hex(8)}"
        self.data["tokens"][token] = time.time() + ttl
        return {"token": form % token}

    def on_kubectl(self, argv, stdin):
        words = [w for w in argv if not w.startswith("-")]
        flags = [w for w in argv if w.startswith("-")]
        say = lambda out="", code=0, err="": {"out": out, "code": code, "err": err}
        verb, rest = words[0], words[1:]
        nodes = self.data["nodes"]
        if "-n" in argv:
            rest = [w for w in rest if w != "kube-system"]
            if words[0] == "kube-system":
                verb, rest = words[1], words[2:]
        if verb == "get" and "--raw" in argv:
            if rest == ["/readyz"]:
                return say("ok")
            return say(json.dumps({"kind": "NodeList", "items": [self.node_json(n, v) for n, v in nodes.items()]}))
        if verb == "get" and rest[0] == "namespace":
            return say(self.data["uid"])
        if verb == "get" and rest[0] == "node":
            if rest[1] not in nodes:
                return say("", 1, f'Error from server (NotFound): nodes "{rest[1]}" not found')
            return say("true" if nodes[rest[1]]["cordoned"] else "") if "-o" in argv else say(rest[1])
        if verb == "get" and rest[0] == "pod":
            return say("127.0.0.1") if rest[1] in self.data["pods"] else say("", 1, "NotFound")
        if verb == "get":
            return say("")
        if verb == "wait":
            kind, name = rest[0].split("/")
            if kind == "pod":
                pod = self.data["pods"].get(name)
                node = nodes.get(pod["spec"]["nodeSelector"]["kubernetes.io/hostname"]) if pod else None
            else:
                node = nodes.get(name)
            if node is None or not self.is_ready(node):
                return say("", 9, f"error: timed out waiting for the condition on {rest[0]}")
            return say("condition met")
        if verb == "delete" and rest[0] == "node":
            for name in rest[1:]:
                nodes.pop(name, None)
                self.data["passwords"].pop(name, None)
            return say("deleted")
        if verb == "delete" and rest[0] == "secret":
            self.data["passwords"].pop(rest[1].removesuffix(".node-password.k3s"), None)
            return say("deleted")
        if verb == "delete":
            self.data["pods"].pop(rest[-1], None)
            return say("deleted")
        if verb == "apply":
            if stdin.lstrip().startswith("{"):
                pod = json.loads(stdin)
                self.data["pods"][pod["metadata"]["name"]] = pod
            return say("created")
        if verb in ("cordon", "drain", "uncordon"):
            if rest[0] not in nodes:
                return say("", 1, f'Error from server (NotFound): nodes "{rest[0]}" not found')
            if verb == "drain" and read("/run/stand-in-drain-fails"):
                nodes[rest[0]]["cordoned"] = True
                return say("", 1, "error: unable to drain node: Cannot evict pod as it would violate the pod's disruption budget.")
            nodes[rest[0]]["cordoned"] = verb != "uncordon"
            return say(f"node/{rest[0]} {verb}ed")
        if verb in ("label", "annotate"):
            held = nodes[rest[1]]["labels" if verb == "label" else "annotations"]
            for word in rest[2:]:
                if word.endswith("-"):
                    held.pop(word[:-1], None)
                else:
                    key, value = word.split("=", 1)
                    held[key] = value
            return say("done")
        if verb == "taint":
            for word in rest[2:]:
                name, effect = word.rsplit(":", 1)
                key, _, value = name.partition("=")
                kept = [t for t in nodes[rest[1]]["taints"] if (t["key"], t["effect"]) != (key, effect)]
                nodes[rest[1]]["taints"] = kept + [{"key": key, "effect": effect, **({"value": value} if value else {})}]
            return say("done")
        return say("", 1, f"the stand-in does not know: {argv} {flags}")


def serve(folder, leader):
    """Answers on this node; by itself, or by asking the node that holds the state."""
    state = None if leader else State(f"{folder}/state.json")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            question = json.loads(self.rfile.read(int(self.headers["content-length"])))
            try:
                answer = ask(leader, **question) if leader else state.answer(question)
            except Exception as error:
                self.send_error(503, str(error)[:80])
                return
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = None
    while server is None:
        try:
            server = ThreadingHTTPServer((own_address(), PORT), Handler)
        except OSError as error:
            print(f"level=error msg=\"{error}\"", flush=True)
            time.sleep(0.5)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return state


def tell_systemd():
    """That it is ready, as services of type notify do."""
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"READY=1", path.replace("@", "\0", 1) if path.startswith("@") else path)


def beat_for_ever(url, name, version, server, create):
    tell_systemd()
    boot = read("/proc/sys/kernel/random/boot_id")
    while True:
        try:
            ask(url, ask="beat", name=name, version=version, boot=boot, server=server, create=create)
            create = False
        except Exception as error:
            print(f"level=error msg=\"{error}\"", flush=True)
        time.sleep(1)


def own_version():
    return os.path.realpath(sys.argv[0]).split("/")[-2]


def kubectl(url, argv):
    stdin = "" if "-" not in argv else sys.stdin.read()
    try:
        answer = ask(url, ask="kubectl", argv=argv, stdin=stdin, timeout=15)
    except Exception as error:
        die(f"The connection to the server {url} was refused: {error}")
    # `wait` is a question asked until its answer is yes.
    if answer["code"] == 9:
        limit = next(int(w.split("=")[1].rstrip("s")) for w in argv if w.startswith("--timeout="))
        until = time.time() + limit
        while answer["code"] == 9 and time.time() < until:
            time.sleep(1)
            answer = ask(url, ask="kubectl", argv=argv, stdin=stdin)
    sys.stdout.write(answer["out"])
    sys.stderr.write(answer["err"])
    sys.exit(answer["code"])


# k3s.


def k3s_server():
    token, url = os.environ.get("K3S_TOKEN"), os.environ.get("K3S_URL")
    wanted = settings("/etc/rancher/k3s/config.yaml")
    name = wanted["node-name"]
    database = f"{K3S}/server/db" + ("/etcd" if wanted.get("cluster-init") else "")
    os.makedirs(database, exist_ok=True)
    leader = read(f"{database}/leader")
    new = not leader and not os.path.exists(f"{database}/state.json")
    os.makedirs("/etc/rancher/node", exist_ok=True)
    if not os.path.exists("/etc/rancher/node/password"):
        write("/etc/rancher/node/password", secrets.token_hex(16))
    if new and url:
        answer = ask(url, ask="join", name=name, token=token or "", password=read("/etc/rancher/node/password"), server=True)
        if "error" in answer:
            die(f'level=fatal msg="starting kubernetes: preparing server: {answer["error"]}"')
        leader = url
        write(f"{database}/leader", url)
        write(f"{K3S}/server/token", answer["server_token"])
    state = serve(database, leader)
    if state is not None and not state.data["server_token"]:
        state.data["server_token"] = f"K10{secrets.token_hex(32)}::server:{secrets.token_hex(16)}"
        write(f"{K3S}/server/token", state.data["server_token"])
    cluster = "{server: 'https://127.0.0.1:6443', certificate-authority-data: c3RhbmQtaW4=}"
    write("/etc/rancher/k3s/k3s.yaml", f"apiVersion: v1\nkind: Config\nclusters:\n- name: default\n  cluster: {cluster}\nusers:\n- name: default\n  user: {{client-key-data: c2VjcmV0}}\n")
    write(f"{K3S}/agent/client-kubelet.crt", "certificate")
    own = f"https://{own_address()}:{PORT}"
    if state is not None:
        ask(own, ask="join", name=name, token=state.data["server_token"], password=read("/etc/rancher/node/password"), server=True)
    beat_for_ever(own, name, own_version(), True, True)


def k3s_agent():
    token = os.environ.get("K3S_TOKEN")
    certificate = f"{K3S}/agent/client-kubelet.crt"
    if not token and not os.path.exists(certificate):
        die('level=fatal msg="Error: --token is required"')
    name = settings("/etc/rancher/k3s/config.yaml")["node-name"]
    url = settings("/etc/rancher/k3s/config.yaml.d/bramble-server.yaml")["server"]
    if not os.path.exists("/etc/rancher/node/password"):
        write("/etc/rancher/node/password", secrets.token_hex(16))
    if token:
        while True:
            try:
                answer = ask(url, ask="join", name=name, token=token, password=read("/etc/rancher/node/password"), server=False)
            except Exception as error:
                answer = {"error": f"failed to get CA certs: {error}"}
            if "error" not in answer:
                break
            print(f'level=error msg="Waiting to retrieve agent configuration; server is not ready: {answer["error"]}"', flush=True)
            time.sleep(2)
    write(certificate, "certificate")
    beat_for_ever(url, name, own_version(), False, True)


def k3s():
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    own = f"https://{own_address()}:{PORT}"
    if command != "kubectl" or "--raw" not in sys.argv:
        record("k3s", token=bool(os.environ.get("K3S_TOKEN")), url=os.environ.get("K3S_URL", ""))
    if command == "server":
        k3s_server()
    if command == "agent":
        k3s_agent()
    if command == "kubectl":
        kubectl(own, sys.argv[2:])
    if command == "token":
        ttl = float(read("/run/stand-in-token-ttl", "900"))
        print(ask(own, ask="token", ttl=ttl, form=f"K10{'ab' * 32}::%s")["token"])
        return
    die(f"the stand-in does not know {sys.argv}")


# kubeadm and kubelet.


def kubeadm():
    words = sys.argv[1:]
    record("kubeadm")
    own = f"https://{own_address()}:{PORT}"
    given = {}
    if "--config" in words:
        for part in read(words[words.index("--config") + 1]).split("\n---\n"):
            document = json.loads(part)
            given[document["kind"]] = document
    if words[:2] == ["token", "create"]:
        print(ask(own, ask="token", ttl=float(read("/run/stand-in-token-ttl", "900")), form="%s")["token"])
    elif words[:2] == ["certs", "certificate-key"]:
        print(secrets.token_hex(32))
    elif words[:2] == ["init", "phase"]:
        write("/run/stand-in-certificate-key", given["InitConfiguration"]["certificateKey"])
    elif words[0] == "init":
        folder = given["ClusterConfiguration"]["etcd"]["local"]["dataDir"]
        os.makedirs(PKI, exist_ok=True)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=kubernetes", "-keyout", f"{PKI}/ca.key", "-out", f"{PKI}/ca.crt"], check=True, capture_output=True)
        begin(given["InitConfiguration"]["nodeRegistration"]["name"], folder, "")
    elif words[0] == "join":
        wish = given["JoinConfiguration"]
        found = wish["discovery"]["bootstrapToken"]
        name, url = wish["nodeRegistration"]["name"], f"https://{found['apiServerEndpoint']}"
        if not found["caCertHashes"][0].startswith("sha256:"):
            die("error execution phase preflight: cluster CA found in cluster-info ConfigMap is invalid")
        answer = ask(url, ask="join", name=name, token=found["token"], password=None, server=False)
        if "error" in answer:
            die(f'error execution phase preflight: couldn\'t validate the identity of the API Server: could not find a JWS signature in the cluster-info ConfigMap for token ID "{found["token"].split(".")[0]}"')
        if "controlPlane" in wish:
            if not wish["controlPlane"]["certificateKey"]:
                die("error execution phase control-plane-prepare/download-certs: no key")
            os.makedirs(PKI, exist_ok=True)
            begin(name, "/var/lib/bramble/containers/etcd", url)
        else:
            write("/etc/kubernetes/kubelet.conf", json.dumps({"name": name, "url": url}))
            start_kubelet()
    elif words[0] == "upgrade":
        print("upgraded")
    elif words[0] == "reset":
        subprocess.run(["systemctl", "stop", "kubelet"])
        subprocess.run(["rm", "-rf", "/etc/kubernetes/manifests", "/etc/kubernetes/kubelet.conf", "/etc/kubernetes/admin.conf", KUBELET_SETTINGS, PKI])
    else:
        die(f"the stand-in does not know {words}")


def start_kubelet():
    """Its unit waits for this file."""
    write(KUBELET_SETTINGS, "")
    subprocess.run(["systemctl", "restart", "kubelet"], check=True)


def begin(name, folder, leader):
    write(f"{folder}/leader", leader)
    write("/etc/kubernetes/manifests/kube-apiserver.yaml", folder)
    own = f"https://{own_address()}:{PORT}"
    write("/etc/kubernetes/admin.conf", f"apiVersion: v1\nkind: Config\nclusters:\n- cluster: {{server: '{own}', certificate-authority-data: c3RhbmQtaW4=}}\n  name: kubernetes\nusers:\n- name: kubernetes-admin\n  user: {{client-key-data: c2VjcmV0}}\n")
    write("/etc/kubernetes/kubelet.conf", json.dumps({"name": name, "url": own}))
    start_kubelet()
    for _ in range(60):
        try:
            ask(own, ask="health")
            return
        except Exception:
            time.sleep(0.5)
    die("error execution phase wait-control-plane: timed out waiting for the condition")


def kubelet():
    record("kubelet")
    if not os.path.exists("/etc/kubernetes/kubelet.conf"):
        die("failed to load kubelet config file, path: /var/lib/kubelet/config.yaml")
    mine = json.loads(read("/etc/kubernetes/kubelet.conf"))
    folder = read("/etc/kubernetes/manifests/kube-apiserver.yaml")
    if folder:
        serve(folder, read(f"{folder}/leader"))
    beat_for_ever(mine["url"], mine["name"], own_version(), bool(folder), True)


def main():
    program = os.path.basename(sys.argv[0])
    if program == "kubectl":
        argv = sys.argv[1:]
        if "--kubeconfig" in argv:
            at = argv.index("--kubeconfig")
            if not os.path.exists(argv[at + 1]):
                die(f"error: stat {argv[at + 1]}: no such file or directory")
            argv = argv[:at] + argv[at + 2 :]
        if "--raw" not in argv:
            record("kubectl")
        kubectl(f"https://{own_address()}:{PORT}", argv)
    {"k3s": k3s, "kubeadm": kubeadm, "kubelet": kubelet}[program]()


main()
