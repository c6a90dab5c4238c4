// Uploads a File, as an <input type="file"> gives it, by chunks, four at a time; answers the file's record. After a
// reload call it again with the same file and it goes on where it was: the page remembers the upload's id.
export async function upload(file, { server = "", key, parallel = 4, onProgress = () => {} } = {}) {
  const authorization = key ? { Authorization: `Bearer ${key}` } : {};

  // The answer's JSON, or null where nothing is. Without an answer, or when the service is busy, it tries again;
  // Retry-After says when.
  async function call(method, path, headers = {}, body) {
    for (let attempt = 1; attempt < 10; attempt++) {
      let again, refused;
      try {
        const answer = await fetch(server + path, { method, headers: { ...authorization, ...headers }, body });
        again = answer.headers.get("Retry-After");
        const json = await answer.json();
        if (answer.ok && !again) return json;
        if ([404, 410].includes(answer.status)) return null;
        refused = answer.status < 500 && !again && json.detail;
      } catch {
        // The connection broke.
      }
      if (refused) throw new Error(refused);
      await new Promise((resolve) => setTimeout(resolve, 1000 * (again ?? attempt)));
    }
    throw new Error(`gave up: ${path}`);
  }

  const remembered = `upload of ${file.name}, ${file.size}, ${file.lastModified}`;
  const id = localStorage.getItem(remembered);
  let session = id && (await call("GET", `/api/uploads/${id}`));
  if (!session) {
    const wanted = { filename: file.name, total_size: file.size, content_type: file.type || undefined };
    session = await call("POST", "/api/uploads", { "Content-Type": "application/json" }, JSON.stringify(wanted));
    localStorage.setItem(remembered, session.upload_id);
  }

  const here = `/api/uploads/${session.upload_id}`;
  async function send(index) {
    const start = index * session.chunk_size;
    const chunk = await file.slice(start, start + session.chunk_size).arrayBuffer();
    const headers = {};
    if (globalThis.crypto?.subtle) { // only there on https and localhost
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", chunk));
      headers["Content-Digest"] = `sha-256=:${btoa(String.fromCharCode(...digest))}:`;
    }
    const receipt = await call("PUT", `${here}/chunks/${index}`, headers, chunk);
    if (!receipt) throw new Error("the upload has ended");
    onProgress(receipt.received_bytes, file.size);
  }

  // What is missing, until nothing is: an answer lists no more than 1,000 gaps.
  while (session?.missing?.length) {
    const indexes = session.missing.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, n) => first + n));
    const worker = async () => { while (indexes.length) await send(indexes.shift()); };
    await Promise.all(Array.from({ length: parallel }, worker));
    session = await call("GET", here);
  }
  const record = await call("POST", `${here}/finalize`);
  localStorage.removeItem(remembered);
  if (!record) throw new Error("the upload has ended");
  return record;
}
