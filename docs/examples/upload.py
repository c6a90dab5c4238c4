"""upload.py FILE: uploads FILE by chunks, four at a time, and prints the file's id. Run it again after an
interruption and it goes on where it was. CIFRA_SERVER is the service, CIFRA_API_KEY the key."""

import base64, hashlib, os, sys, time
from concurrent.futures import ThreadPoolExecutor

import requests  # Debian: python3-requests

SERVER = os.environ.get("CIFRA_SERVER", "http://127.0.0.1:8080")
KEY = os.environ.get("CIFRA_API_KEY")
session = requests.Session()
session.headers = {"Authorization": f"Bearer {KEY}"} if KEY else {}


def call(method, path, **more):
    """The answer. Without one, or when the service is busy, it tries again; Retry-After says when."""
    for attempt in range(9):
        try:
            answer = session.request(method, SERVER + path, timeout=60, **more)
            again = answer.headers.get("Retry-After")
            if answer.ok and not again:
                return answer.json()
            if answer.status_code < 500 and not again:
                sys.exit(f"{path}: {answer.text}")
        except requests.RequestException:
            again = None  # the connection broke
        time.sleep(int(again or attempt + 1))
    sys.exit(f"gave up: {path}")


def find_or_begin(path):
    """The session of an earlier run is found by its metadata; else a new one begins."""
    stat = os.stat(path)
    text = f"{os.path.abspath(path)} {stat.st_size} {stat.st_mtime_ns}"
    metadata = {"fingerprint": hashlib.sha256(text.encode()).hexdigest()}
    found = call("GET", "/api/uploads", params={f"metadata.{key}": value for key, value in metadata.items()})
    for upload in found["items"]:
        if upload["state"] in ("receiving", "finalizing", "completed"):
            return upload
    wanted = {"filename": os.path.basename(path), "total_size": stat.st_size, "metadata": metadata}
    return call("POST", "/api/uploads", json=wanted)


def main(path):
    upload = find_or_begin(path)
    here, size = f"/api/uploads/{upload['upload_id']}", upload["chunk_size"]
    with open(path, "rb") as file:

        def send(index):
            chunk = os.pread(file.fileno(), size, index * size)
            digest = base64.b64encode(hashlib.sha256(chunk).digest()).decode()
            call("PUT", f"{here}/chunks/{index}", data=chunk, headers={"Content-Digest": f"sha-256=:{digest}:"})

        # What is missing, until nothing is: an answer lists no more than 1,000 gaps.
        while missing := call("GET", here)["missing"]:
            indexes = [index for first, last in missing for index in range(first, last + 1)]
            with ThreadPoolExecutor(4) as threads:
                list(threads.map(send, indexes))
        # Whole: the service compares the digest of the whole file before the file becomes visible.
        checksum = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    print(call("POST", f"{here}/finalize", json={"checksum": checksum})["id"])


main(sys.argv[1])
