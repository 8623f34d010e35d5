"""Kubernetes discovery beside a real Prometheus: the same discovered labels?

usage: python3 sd-twin.py PROMETHEUS FERULA

A scripted API server on loopback (lists, watches, bookmarks, streaming lists, selectors, changes, deletions) serves both, with one
configuration of twelve jobs: all six roles, node metadata, selectors, namespaces. `/api/v1/targets` of both is compared three times.
Left out of the comparison: labels of node conditions, which Prometheus has since 3.5. After changes of pods the endpoints are touched,
because Prometheus takes a pod's new labels only with the next change of what points to it; ferula takes them at once.
Ends with OK and 0, or FAILED and 1. Needs Python 3.9 and nothing else.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlparse, parse_qs


def meta(name, ns=None, **kw):
    m = {"name": name, "uid": "uid-" + name, "resourceVersion": "5", "creationTimestamp": "2026-01-01T00:00:00Z"}
    if ns:
        m["namespace"] = ns
    m.update(kw)
    return m


nodes = [
    {
        "metadata": meta("node-%d" % i, labels={"kubernetes.io/hostname": "node-%d" % i, "zone": "z%d" % i}, annotations={"a.b/c": "x"}),
        "spec": {"providerID": "aws:///i-%d" % i},
        "status": {
            "addresses": [
                {"type": "Hostname", "address": "node-%d" % i},
                {"type": "InternalIP", "address": "10.0.0.%d" % i},
                {"type": "InternalIP", "address": "fd00::%d" % i},
                {"type": "ExternalIP", "address": "1.2.3.%d" % i},
            ],
            "conditions": [{"type": "Ready", "status": "True"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        },
    }
    for i in (1, 2)
]
nodes.append(
    {
        "metadata": meta("node-bare"),
        "spec": {},
        "status": {"addresses": [{"type": "Hostname", "address": "bare"}], "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}}},
    }
)
nodes.append({"metadata": meta("node-none"), "spec": {}, "status": {}})


def pod(name, ns, ip, node, containers, inits=(), phase="Running", ready="True", owner=None, labels=None, host_ip="10.0.0.1"):
    return {
        "metadata": meta(
            name,
            ns,
            labels=labels or {"app": "web", "app.kubernetes.io/name": "n"},
            annotations={"prometheus.io/scrape": "true"},
            **(
                {
                    "ownerReferences": [
                        {"apiVersion": "v1", "kind": "Other", "name": "o", "uid": "1"},
                        {"apiVersion": "apps/v1", "kind": owner[0], "name": owner[1], "uid": "2", "controller": True},
                    ]
                }
                if owner
                else {}
            )
        ),
        "spec": {"nodeName": node, "containers": list(containers), "initContainers": list(inits)},
        "status": {
            "phase": phase,
            "podIP": ip,
            "hostIP": host_ip,
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": ready}] if ready else [],
            "containerStatuses": [
                {"name": c["name"], "containerID": "docker://" + c["name"], "image": "", "imageID": "", "ready": True, "restartCount": 0}
                for c in containers
            ][:1],
            "initContainerStatuses": [
                {
                    "name": c["name"],
                    "containerID": "docker://init-" + c["name"],
                    "image": "",
                    "imageID": "",
                    "ready": True,
                    "restartCount": 0,
                }
                for c in inits
            ],
        },
    }


web = {
    "name": "web",
    "image": "nginx:1",
    "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}, {"name": "metrics", "containerPort": 9100, "protocol": "TCP"}],
}
side = {"name": "side", "image": "side:2"}
dns = {"name": "dns", "image": "dns:1", "ports": [{"containerPort": 53, "protocol": "UDP"}]}
pods = [
    pod("web-1", "default", "10.1.0.1", "node-1", [web], [{"name": "setup", "image": "init:1"}], owner=("ReplicaSet", "web-rs")),
    pod(
        "web-2",
        "default",
        "10.1.0.2",
        "node-2",
        [web],
        [{"name": "isetup", "image": "init:2", "ports": [{"name": "ip", "containerPort": 7000, "protocol": "TCP"}]}],
        ready="False",
        host_ip="10.0.0.2",
    ),
    pod("six", "kube", "fd00:1::9", "node-1", [dns, side], ready=None),
    pod("starting", "kube", "", "", [web], phase="Pending", ready=None),
    pod("far", "kube", "10.1.0.7", "node-gone", [web], labels={"app": "other"}),
]
services = [
    {
        "metadata": meta("web", "default", labels={"app": "web"}, annotations={"note": "yes"}),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "10.96.0.1",
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}, {"name": "udp", "port": 81, "protocol": "UDP"}],
        },
    },
    {
        "metadata": meta("ext", "default"),
        "spec": {"type": "ExternalName", "externalName": "far.example", "ports": [{"port": 443, "protocol": "TCP"}]},
    },
    {
        "metadata": meta("lb", "kube", labels={"l-x": "1"}),
        "spec": {
            "type": "LoadBalancer",
            "clusterIP": "10.96.0.3",
            "loadBalancerIP": "9.9.9.9",
            "ports": [{"name": "p", "port": 1, "protocol": "TCP"}],
        },
    },
    {"metadata": meta("none", "kube"), "spec": {"type": "ClusterIP", "clusterIP": "None"}},
]


def ref(kind, ns, name):
    return {"kind": kind, "namespace": ns, "name": name}


endpoints = [
    {
        "metadata": meta("web", "default", labels={"app": "web"}, annotations={"e": "f"}),
        "subsets": [
            {
                "addresses": [
                    {"ip": "10.1.0.1", "nodeName": "node-1", "hostname": "h1", "targetRef": ref("Pod", "default", "web-1")},
                    {"ip": "10.9.9.9"},
                ],
                "notReadyAddresses": [{"ip": "10.1.0.2", "nodeName": "node-2", "targetRef": ref("Pod", "default", "web-2")}],
                "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "other", "port": 5, "protocol": "TCP"}],
            }
        ],
    },
    {
        "metadata": meta("kubelet", "kube"),
        "subsets": [
            {
                "addresses": [{"ip": "10.0.0.1", "targetRef": ref("Node", "", "node-1")}],
                "ports": [{"name": "k", "port": 10250, "protocol": "TCP"}],
            }
        ],
    },
    {
        "metadata": meta("dns", "kube"),
        "subsets": [
            {
                "addresses": [
                    {"ip": "fd00:1::9", "nodeName": "node-1", "targetRef": ref("Pod", "kube", "six")},
                    {"ip": "1.1.1.1", "targetRef": ref("Pod", "kube", "unknown")},
                ],
                "ports": [{"port": 53, "protocol": "UDP"}],
            }
        ],
    },
    {"metadata": meta("empty", "kube")},
]
slices = [
    {
        "metadata": meta("web-abc", "default", labels={"kubernetes.io/service-name": "web"}, annotations={"s": "t"}),
        "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": ["10.1.0.1", "10.1.0.99"],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "hostname": "h1",
                "nodeName": "node-1",
                "zone": "eu-1",
                "targetRef": ref("Pod", "default", "web-1"),
                "deprecatedTopology": {"topology": "value", "a/b": "c"},
            },
            {"addresses": ["10.1.0.2"], "conditions": {"ready": False}, "nodeName": "node-2", "targetRef": ref("Pod", "default", "web-2")},
            {"addresses": ["10.9.9.9"], "conditions": {}},
        ],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP", "appProtocol": "http"}, {"name": "noport"}],
    },
    {
        "metadata": meta("lonely", "kube"),
        "addressType": "FQDN",
        "endpoints": [{"addresses": ["far.example"], "targetRef": ref("Node", "", "node-1")}],
        "ports": [{"port": 1, "protocol": "TCP", "name": ""}],
    },
]
ingresses = [
    {
        "metadata": meta("shop", "default", labels={"app": "web"}, annotations={"i": "j"}),
        "spec": {
            "ingressClassName": "nginx",
            "tls": [{"hosts": ["*.shop.example", "a.example"]}],
            "rules": [
                {"host": "a.example", "http": {"paths": [{"pathType": "Prefix", "backend": {}}]}},
                {"host": "b.shop.example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {}}]}},
                {"host": "c.d.shop.example"},
                {"http": {"paths": [{"path": "/nohost", "pathType": "Prefix", "backend": {}}]}},
            ],
        },
    },
    {"metadata": meta("plain", "kube"), "spec": {"rules": [{"host": "plain.example"}]}},
]
namespaces = [{"metadata": meta("default", labels={"team": "a"}, annotations={"q": "r"})}, {"metadata": meta("kube")}]
collections = {
    "nodes": ("v1", "Node", nodes),
    "pods": ("v1", "Pod", pods),
    "services": ("v1", "Service", services),
    "endpoints": ("v1", "Endpoints", endpoints),
    "endpointslices": ("discovery.k8s.io/v1", "EndpointSlice", slices),
    "ingresses": ("networking.k8s.io/v1", "Ingress", ingresses),
    "namespaces": ("v1", "Namespace", namespaces),
}

lock = threading.Condition()
log = []
rv = [10]
requests = []


def sel(o, q):
    s = q.get("labelSelector", [""])[0]
    for part in filter(None, s.split(",")):
        k, v = part.split("=", 1)
        if o["metadata"].get("labels", {}).get(k) != v:
            return False
    f = q.get("fieldSelector", [""])[0]
    for part in filter(None, f.split(",")):
        k, v = part.split("=", 1)
        x = o
        for p in k.split("."):
            x = x.get(p, {})
        if x != v:
            return False
    return True


class H(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *a):
        pass

    def do_GET(self):
        u = urlparse(self.path)
        q = parse_qs(u.query)
        parts = u.path.strip("/").split("/")
        requests.append((self.headers.get("User-Agent", ""), self.path))
        kind = parts[-1]
        ns = parts[parts.index("namespaces") + 1] if "namespaces" in parts and parts[-1] != "namespaces" else ""
        if kind not in collections:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        api, name, objs = collections[kind]
        ok = lambda o: (not ns or o["metadata"].get("namespace") == ns) and sel(o, q)
        if q.get("watch", ["0"])[0] in ("1", "true"):
            since = int(q.get("resourceVersion", ["0"])[0] or 0)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            at = 0
            end = time.time() + min(float(q.get("timeoutSeconds", ["300"])[0]), 8)

            def put(e):
                b = (json.dumps(e) + "\n").encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(b), b))
                self.wfile.flush()

            try:
                if q.get("sendInitialEvents", [""])[0] == "true":
                    with lock:
                        first = [o for o in objs if ok(o)]
                        since = rv[0]
                        at = len(log)
                    for o in first:
                        put({"type": "ADDED", "object": dict(o, apiVersion=api, kind=name)})
                    put(
                        {
                            "type": "BOOKMARK",
                            "object": {
                                "apiVersion": api,
                                "kind": name,
                                "metadata": {"resourceVersion": str(since), "annotations": {"k8s.io/initial-events-end": "true"}},
                            },
                        }
                    )
                while time.time() < end:
                    with lock:
                        if at >= len(log):
                            lock.wait(0.5)
                        new = log[at:]
                        at = len(log)
                    for v, k, typ, o in new:
                        if v > since and k == kind and ok(o):
                            put({"type": typ, "object": dict(o, apiVersion=api, kind=name)})
                put({"type": "BOOKMARK", "object": {"apiVersion": api, "kind": name, "metadata": {"resourceVersion": str(rv[0])}}})
                self.wfile.write(b"0\r\n\r\n")
            except (BrokenPipeError, ConnectionResetError):
                pass
            return
        with lock:
            body = json.dumps(
                {"kind": name + "List", "apiVersion": api, "metadata": {"resourceVersion": str(rv[0])}, "items": [o for o in objs if ok(o)]}
            ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


srv = ThreadingHTTPServer(("127.0.0.1", 0), H)
srv.daemon_threads = True
threading.Thread(target=srv.serve_forever, daemon=True).start()
url = "http://127.0.0.1:%d" % srv.server_port


def change(kind, typ, o):
    with lock:
        rv[0] += 1
        o = json.loads(json.dumps(o))
        o["metadata"]["resourceVersion"] = str(rv[0])
        objs = collections[kind][2]
        key = lambda x: (x["metadata"].get("namespace"), x["metadata"]["name"])
        objs[:] = [x for x in objs if key(x) != key(o)]
        if typ != "DELETED":
            objs.append(o)
        log.append((rv[0], kind, typ, o))
        lock.notify_all()


roles = ["node", "pod", "service", "endpoints", "endpointslice", "ingress"]
jobs = []


def job(name, role, extra=""):
    jobs.append(
        "- job_name: %s\n  scrape_interval: 1h\n  kubernetes_sd_configs:\n  - role: %s\n    api_server: %s\n%s" % (name, role, url, extra)
    )


for r in roles:
    job(r, r)
for r in ("pod", "endpoints", "endpointslice"):
    job(r + "-with-node", r, "    attach_metadata: {node: true}\n")
job("pod-selected", "pod", "    selectors: [{role: pod, label: 'app=web', field: 'spec.nodeName=node-1'}]\n")
job("endpoints-default", "endpoints", "    namespaces: {names: [default]}\n    selectors: [{role: endpoints, label: 'app=web'}]\n")
job("pods-two", "pod", "    namespaces: {names: [default, kube]}\n")
cfg = "global: {scrape_interval: 1h}\nscrape_configs:\n" + "".join(jobs)
tmp = tempfile.mkdtemp()
open(tmp + "/p.yml", "w").write(cfg)
prom, fer = sys.argv[1:3]
procs = []


def start(bin, port, name, extra=[]):
    d = tmp + "/" + name
    os.mkdir(d)
    p = subprocess.Popen(
        [bin, "--config.file=" + tmp + "/p.yml", "--storage.tsdb.path=" + d, "--web.listen-address=127.0.0.1:%d" % port] + extra,
        stdout=open(tmp + "/" + name + ".log", "w"),
        stderr=subprocess.STDOUT,
    )
    procs.append(p)


def get(port):
    out = {}
    a = json.load(urllib.request.urlopen("http://127.0.0.1:%d/api/v1/targets" % port, timeout=10))["data"]
    for t in a["activeTargets"] + a["droppedTargets"]:
        d = {k: v for k, v in t["discoveredLabels"].items() if not k.startswith("__meta_kubernetes_node_condition_")}
        out.setdefault(t.get("scrapePool"), []).append(json.dumps(d, sort_keys=True))
    return {k: sorted(v) for k, v in out.items()}


def compare(what, patience=int(os.environ.get("PATIENCE", "40"))):
    end = time.time() + patience
    while True:
        try:
            p, f = get(19101), get(19102)
        except Exception as e:
            p, f = {"": [str(e)]}, {}
        if p == f and p or time.time() > end:
            break
        time.sleep(1)
    print("==", what, "equal" if p == f else "DIFFERENT", {k: len(v) for k, v in p.items()})
    if p != f:
        for k in sorted(set(p) | set(f)):
            a, b = p.get(k, []), f.get(k, [])
            da = [json.loads(x) for x in a if x not in b]
            db = [json.loads(x) for x in b if x not in a]
            print("  ", k, "only prometheus:", len(da), "only ferula:", len(db))
            for x in da[:2]:
                y = next((y for y in db if y["__address__"] == x["__address__"]), None)
                if y is None:
                    print("    missing", x["__address__"])
                    continue
                print("    ", x["__address__"], {n: (x.get(n), y.get(n)) for n in set(x) | set(y) if x.get(n) != y.get(n)})
            for x in db[:2]:
                if all(y["__address__"] != x["__address__"] for y in da):
                    print("    extra", x["__address__"])
    return p == f


try:
    start(prom, 19101, "prom")
    start(fer, 19102, "ferula", ["--scrape.discovery-reload-interval=1s"])
    time.sleep(3)
    good = compare("all roles")
    change("pods", "ADDED", pod("new", "default", "10.1.0.50", "node-2", [web]))
    o = json.loads(json.dumps(next(x for x in pods if x["metadata"]["name"] == "web-1")))
    o["metadata"]["labels"]["app"] = "changed"
    change("pods", "MODIFIED", o)
    o = json.loads(json.dumps(services[0]))
    o["metadata"]["labels"]["v"] = "2"
    change("services", "MODIFIED", o)
    o = json.loads(json.dumps(nodes[0]))
    o["metadata"]["labels"]["zone"] = "other"
    change("nodes", "MODIFIED", o)
    change("endpoints", "DELETED", next(x for x in endpoints if x["metadata"]["name"] == "dns"))

    def touch():
        time.sleep(2)
        for k in ("endpoints", "endpointslices"):
            for o in list(collections[k][2]):
                o = json.loads(json.dumps(o))
                o["metadata"].setdefault("annotations", {})["touched"] = str(rv[0])
                change(k, "MODIFIED", o)

    touch()
    time.sleep(6)
    good &= compare("after changes")
    time.sleep(10)
    change("pods", "DELETED", next(x for x in pods if x["metadata"]["name"] == "web-2"))
    change("ingresses", "DELETED", collections["ingresses"][2][0])
    touch()
    time.sleep(6)
    good &= compare("after deletions, past the watches' ends")
    print("OK" if good else "FAILED")
finally:
    for p in procs:
        p.terminate()
    for p in procs:
        p.wait()
    shutil.rmtree(tmp)
sys.exit(0 if good else 1)
