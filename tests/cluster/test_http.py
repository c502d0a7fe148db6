# SPDX-License-Identifier: MIT
"""HTTP itself: methods, bodies in every framing, keep-alive, and the browser rule."""

import unittest

from harness import Cluster, ClusterTest, compact, raw_exchange

SET = compact({"Set": {"key": "http", "value": "v"}})
ENDPOINTS = {  # path: methods allowed
    "/init": {"GET", "HEAD", "POST"},
    "/get-id": {"GET", "HEAD"},
    "/add-learner": {"POST"},
    "/change-membership": {"POST"},
    "/metrics": {"GET", "HEAD"},
    "/write": {"POST"},
    "/read": {"POST"},
    "/v1/snapshot": {"GET", "HEAD"},
}


class Http(ClusterTest):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster.formed(1)
        cls.addClassCleanup(cls.cluster.close)
        cls.node = cls.cluster.nodes[0]

    def raw(self, text):
        """The answer to these bytes and `Connection: close` as text."""
        return raw_exchange(self.node.bind, text.encode()).decode("utf-8", "replace")

    def test_unknown_path_is_404(self):
        for path in ("/", "/nowhere", "/write/", "/get-id/x", "/%77rite%00", "//read", "/v1/kvv"):
            with self.subTest(path=path):
                self.assertEqual(self.node.request("GET", path).status, 404)

    def test_wrong_method_is_405_with_allow(self):
        for path, allowed in ENDPOINTS.items():
            for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
                if method in allowed:
                    continue
                with self.subTest(path=path, method=method):
                    answer = self.node.request(method, path)
                    self.assertEqual(answer.status, 405)
                    named = {m.strip() for m in answer.headers["Allow"].split(",")}
                    self.assertEqual(named - {"HEAD"}, allowed - {"HEAD"})

    def test_head_answers_as_get_without_a_body(self):
        for path in ("/get-id", "/metrics"):
            with self.subTest(path=path):
                answer = self.node.request("HEAD", path)
                self.assertEqual((answer.status, answer.body), (200, b""))

    def test_content_type_of_curl_is_accepted(self):
        for kind in ("application/x-www-form-urlencoded", "application/json", "text/plain", ""):
            with self.subTest(kind=kind):
                answer = self.node.request("POST", "/write", SET, {"Content-Type": kind})
                self.assertWritten(answer, "v")

    def test_chunked_body_is_accepted(self):
        chunks = "".join(f"{len(c):x}\r\n{c}\r\n" for c in (SET[:5], SET[5:6], SET[6:]))
        answer = self.raw("POST /write HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                          f"Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
        self.assertRegex(answer, r"^HTTP/1.1 200 ")
        self.assertIn('"data":{"value":"v"}', answer)

    def test_expect_100_continue_is_answered(self):
        answer = self.raw("POST /write HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                          f"Expect: 100-continue\r\nContent-Length: {len(SET)}\r\n\r\n{SET}")
        self.assertRegex(answer, r"^HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")

    def test_many_requests_share_a_connection(self):
        with self.node.client() as client:
            client.request("GET", "/get-id")
            first = client.connection.sock
            for i in range(100):
                self.assertEqual(client.post("/read", f"no{i}").status, 404)
            self.assertIs(client.connection.sock, first)

    def test_pipelined_requests_are_answered_in_order(self):
        def post(path, value, close=""):
            body = compact(value)
            return (f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{close}"
                    f"Content-Length: {len(body)}\r\n\r\n{body}")

        requests = [post("/write", {"Set": {"key": "pipe", "value": str(i)}}) for i in range(20)]
        requests.append(post("/read", "pipe", "Connection: close\r\n"))
        answer = self.raw("".join(requests))
        self.assertEqual(answer.count("HTTP/1.1 200 "), 21)
        positions = [answer.index(f'"data":{{"value":"{i}"}}') for i in range(20)]
        self.assertEqual(positions, sorted(positions))
        self.assertIn('{"Ok":"19"}', answer)

    def test_connection_closed_in_mid_request_harms_nobody(self):
        for cut in ("POST /wri", "POST /write HTTP/1.1\r\nHost: localhost\r\nContent-Len",
                    f"POST /write HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{SET}"):
            with self.node.client(timeout=1) as client:
                client.connection.connect()
                client.connection.sock.sendall(cut.encode())
        self.assertWritten(self.node.set("after", "v"), "v")

    def test_origin_of_a_web_page_is_refused(self):
        page = {"Origin": "http://evil.example"}
        for headers in (page, {"Origin": "null"}, {"Origin": f"http://{self.node.bind}"},
                        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
            with self.subTest(headers=headers):
                body = compact({"Set": {"key": "browser", "value": "v"}})
                self.assertEqual(self.node.request("POST", "/write", body, headers).status, 403)
                self.assertEqual(self.node.request("GET", "/get-id", None, headers).status, 403)
        self.assertMissing(self.node.read("browser"))

    def test_requests_that_are_no_foreign_page_pass(self):
        for headers in ({"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "same-origin"},
                        {"Host": "localhost"}, {"Host": f"localhost:{self.node.port}"},
                        {"Host": "127.0.0.1"}, {"Host": "[::1]:8080"}, {"Host": "10.1.2.3:80"}):
            with self.subTest(headers=headers):
                self.assertEqual(self.node.request("GET", "/get-id", None, headers).status, 200)

    def test_foreign_host_name_is_refused(self):
        for host in ("evil.example", "evil.example:8080", "localhost.evil.example",
                     "127.0.0.1.evil.example", "1.2.3.4.5"):
            with self.subTest(host=host):
                answer = self.node.request("GET", "/get-id", None, {"Host": host})
                self.assertEqual(answer.status, 403)

    def test_allowed_origin_passes(self):
        node = self.loose_nodes(1, {"allowed-origins": '{ "https://ui.example" }'})[0]
        for origin, status in (("https://ui.example", 200), ("https://evil.example", 403),
                               ("http://ui.example", 403), ("https://ui.example.evil", 403)):
            with self.subTest(origin=origin):
                answer = node.request("GET", "/get-id", None, {"Origin": origin})
                self.assertEqual(answer.status, status)


if __name__ == "__main__":
    unittest.main()
