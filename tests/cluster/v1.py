# SPDX-License-Identifier: MIT
"""What tests of /v1 share: paths of keys, requests, and the shape of errors."""

import base64
import urllib.parse

from harness import Cluster, ClusterTest, note

ERROR_MEMBERS = ["code", "message", "retryable", "request_id", "details"]
CURL_TYPE = {"Content-Type": "application/x-www-form-urlencoded"}


def as_bytes(key):
    return key.encode() if isinstance(key, str) else key


def path_of(key, safe="/"):
    """The path of a key, text or bytes; what is in safe stays as it is."""
    return "/v1/kv/" + urllib.parse.quote_from_bytes(as_bytes(key), safe=safe)


def shown(name, value):
    """How an answer shows bytes: as text, or in base64 when they are none."""
    data = as_bytes(value)
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {f"{name}_b64": base64.b64encode(data).decode()}


def revision_of(answer):
    return int(answer.headers["X-Crabcluster-Revision"])


class V1Test(ClusterTest):
    """Requests about one key: get(node, key, "wait=1s", If_None_Match='"17"')."""

    def kv(self, method, node, key, body=None, query="", timeout=None, **headers):
        path = path_of(key) + (f"?{query}" if query else "")
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return node.request(method, path, body, headers, timeout=timeout)

    def get(self, node, key, query="", **headers):
        return self.kv("GET", node, key, None, query, **headers)

    def put(self, node, key, value, query="", **headers):
        return self.kv("PUT", node, key, value, query, **headers)

    def delete(self, node, key, query="", **headers):
        return self.kv("DELETE", node, key, None, query, **headers)

    def post(self, node, key, query, body=None, **headers):
        return self.kv("POST", node, key, body, query, **headers)

    # -- assertions --

    def assertError(self, answer, status, code, details=None):
        """Exactly the shape of the contract; returns the message."""
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer.headers["Content-Type"], "application/json")
        self.assertEqual(list(answer.json), ["error"])
        error = answer.json["error"]
        self.assertEqual(list(error), ERROR_MEMBERS)
        self.assertEqual(error["code"], code)
        self.assertIs(error["retryable"], status in (429, 503))
        self.assertEqual(error["request_id"], answer.headers["X-Request-Id"])
        self.assertEqual(error["details"], details or {})
        self.assertTrue(error["message"] and isinstance(error["message"], str))
        return error["message"]

    def assertStored(self, answer, key, created, **more):
        """The answer of a write, with the headers that tell the same; returns the revision."""
        self.assertEqual(answer.status, 201 if created else 200, answer)
        self.assertEqual(answer.headers["Content-Type"], "application/json")
        revision = revision_of(answer)
        self.assertEqual(answer.json, {**shown("key", key), "revision": revision,
                                       "created": created, **more})
        self.assertEqual(list(answer.json)[1:3], ["revision", "created"])
        self.assertEqual(answer.headers["ETag"], f'"{revision}"')
        return revision

    def assertValue(self, answer, value, revision=None, create_revision=None, version=None,
                    content_type="application/octet-stream"):
        self.assertEqual(answer.status, 200, answer)
        self.assertTrue(answer.body == as_bytes(value), f"{answer.body[:100]} is another value")
        self.assertEqual(answer.headers["Content-Type"], content_type)
        self.assertEqual(answer.headers["Content-Length"], str(len(as_bytes(value))))
        self.assertKnown(answer, revision, create_revision, version)

    def assertKnown(self, answer, revision=None, create_revision=None, version=None):
        """The headers about a key; None: any number."""
        headers = answer.headers
        self.assertEqual(headers["ETag"], f'"{headers["X-Crabcluster-Revision"]}"')
        for name, expected in (("Revision", revision), ("Create-Revision", create_revision),
                               ("Version", version)):
            number = int(headers[f"X-Crabcluster-{name}"])
            self.assertEqual(number, number if expected is None else expected, name)


class ThreeNodesTest(V1Test):
    """At each node of one cluster that all tests of the class share."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster.formed(3, {"limits.max-value-size": "1M",
                                         "limits.request-timeout": "10s"})
        cls.addClassCleanup(cls.cluster.close)

    def each_node(self):
        """Each node and another one; says where it was when the test fails there."""
        leader = self.cluster.leader()
        for i, node in enumerate(self.cluster.nodes):
            passed = False
            try:
                yield node, self.cluster.nodes[i - 1]
                passed = True
            finally:
                if not passed:
                    note(f"at {node.name}, the {'leader' if node is leader else 'follower'}")
