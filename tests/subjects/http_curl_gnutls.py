"""libcurl over GnuTLS, as Debian builds it for Python's pycurl; a client only; see README.md."""

import argparse
import json
import re
import time
from concurrent import futures

import pycurl


def work(plan, arguments, lines):
    curl = None
    for request in plan:
        if curl is None or request["fresh"]:
            if curl:
                curl.close()
            curl = pycurl.Curl()
        curl.reset()
        curl.setopt(curl.URL, arguments.url + request["path"])
        curl.setopt(curl.NOPROXY, "*")
        curl.setopt(curl.WRITEFUNCTION, lambda data: None)
        curl.setopt(curl.HTTPHEADER, ["Expect:"])
        curl.setopt(
            curl.HTTP_VERSION,
            curl.CURL_HTTP_VERSION_2TLS if arguments.http2 else curl.CURL_HTTP_VERSION_1_1,
        )
        if arguments.certificate:
            curl.setopt(curl.CAINFO, arguments.certificate)
        if request["method"] == "HEAD":
            curl.setopt(curl.NOBODY, True)
        elif request["method"] == "POST":
            curl.setopt(curl.POST, True)
            curl.setopt(curl.POSTFIELDS, b"x" * request["body"])
        before = time.monotonic()
        curl.perform()
        # It took at least the time from when the request was sent (that is what PRETRANSFER_TIME says), and at most that from when the connection stood.
        wait = curl.getinfo(curl.PRETRANSFER_TIME)
        stood = max(curl.getinfo(curl.CONNECT_TIME), curl.getinfo(curl.APPCONNECT_TIME))
        lines.append(
            {
                "side": "client",
                "method": request["method"],
                "path": request["path"],
                "status": curl.getinfo(curl.RESPONSE_CODE),
                "start": before + wait,
                "seconds": curl.getinfo(curl.TOTAL_TIME) - wait,
                "at_most": curl.getinfo(curl.TOTAL_TIME) - stood,
            }
        )
    curl.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=["client"])
    parser.add_argument("--log", required=True)
    parser.add_argument("--certificate")
    parser.add_argument("--url", required=True)
    parser.add_argument("--plan", required=True)
    parser.add_argument("--http2", action="store_true")
    arguments = parser.parse_args()
    version = re.search(r"libcurl/(\S+) GnuTLS/(\S+)", pycurl.version)
    if not version:
        raise SystemExit(f"this pycurl has no GnuTLS: {pycurl.version}")
    first = {"library": f"libcurl {version[1]} (pycurl)"}
    if arguments.certificate:
        first["tls"] = f"GnuTLS {version[2]}"
    print(json.dumps(first), flush=True)
    lines = []
    with open(arguments.plan) as plan:
        plans = json.load(plan)
    with futures.ThreadPoolExecutor(len(plans)) as workers:
        list(workers.map(lambda plan: work(plan, arguments, lines), plans))
    with open(arguments.log, "w") as log:
        log.writelines(json.dumps(line) + "\n" for line in lines)
    time.sleep(0.3)


if __name__ == "__main__":
    main()
